"""Where does each clip lie in the action space of the frozen projector?"""

from mpjax.embedding.dataset import embed as embed_dataset
from mpjax.embedding.recordings import Embedder, embed_once
from mpjax.embedding.single_frames import embed as embed_single_frames

__all__ = ["Embedder", "embed_dataset", "embed_once", "embed_single_frames"]
