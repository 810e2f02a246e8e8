"""Which label-free units of behaviour differ with pain?"""

from mpjax.analysis.motifs.analyse import analyse as analyse_motifs
from mpjax.analysis.motifs.codebook import Assigned, Codebook
from mpjax.analysis.motifs.usage import Measure, measure_recordings, segments

__all__ = ["Assigned", "Codebook", "Measure", "analyse_motifs", "measure_recordings", "segments"]
