"""How are a study's results handed to other tools?

`stablehlo` stands apart, because it needs JAX.
"""

from mpjax.interop.study_tables import (
    list_recordings,
    provenance_of,
    write_boris,
    write_csv,
    write_nwb,
)
from mpjax.interop.tables import Motifs, pack_results

__all__ = [
    "Motifs",
    "list_recordings",
    "pack_results",
    "provenance_of",
    "write_boris",
    "write_csv",
    "write_nwb",
]
