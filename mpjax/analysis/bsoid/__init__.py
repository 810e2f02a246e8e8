"""What does B-SOiD, the published label-free baseline, find in the same recordings?"""

from mpjax.analysis.bsoid.predict import predict as predict_bsoid

__all__ = ["predict_bsoid"]
