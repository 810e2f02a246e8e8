"""Could something other than behaviour predict the classes?"""

from mpjax.analysis.confounds.audit import audit_confounds
from mpjax.analysis.confounds.feature_tests import Settings
from mpjax.analysis.confounds.single_frames import compare_single_frames

__all__ = ["Settings", "audit_confounds", "compare_single_frames"]
