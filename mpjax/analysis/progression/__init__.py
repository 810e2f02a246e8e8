"""How does pain change over days, and within a recording?"""

from mpjax.analysis.progression.analyse import describe_progression

__all__ = ["describe_progression"]
