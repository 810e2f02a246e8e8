"""Does a drug relieve pain in animals that the model never saw, and in which type of pain?"""

from mpjax.analysis.drug.sessions import VEHICLE, NoTrial, dose_arms, with_arms
from mpjax.analysis.drug.trial import analyse_drugs

__all__ = ["VEHICLE", "NoTrial", "analyse_drugs", "dose_arms", "with_arms"]
