"""Embeds single frames of clips, and the empty chambers of recordings.

If a single frame predicts a class, motion is not needed; if the empty chamber does, not even the
animal is. The audit of confounds tests both. The frames form a dataset of one-frame clips, which
the projector sees repeated to the length of its clips; all else is as for the clips themselves
(`mpjax.embedding.dataset`).
"""

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd
import simplejpeg
import tqdm
from etils import epath
from jaxtyping import Int

from mpjax.config import ProjectorConfig
from mpjax.data import clips, embeddings, records
from mpjax.data.dataset import DatasetWriter, Encoded
from mpjax.data.scene import backgrounds
from mpjax.data.splits import classification_rows
from mpjax.embedding import dataset as embedding
from mpjax.io import files
from mpjax.models.projector import Projector
from mpjax.training import partitioning

# frame: the middle one of each clip | background: the median over time of each recording
KINDS = ("frame", "background")
_SHARD = "stills.tfrecord-00000-of-00001"
_JPEG_QUALITY = 98  # of a background; frames are kept as they are
_VERSION = "stills/1"


def embed(
    dataset: epath.PathLike,
    out: epath.PathLike,
    projector: Projector,
    config: ProjectorConfig,
    *,
    kind: str,
    most: int = 4000,
    seed: int = 0,
) -> embeddings.Embeddings:
    """Embeds single frames of all clips that may be trained or tested on, or of a sample of them.

    Their dataset is `<out without ending>/`, their embeddings are in `out`; what exists and is
    unchanged is not made again, and a killed run resumes.

    Args:
        config: views and batch size, as for the clips; a single frame has one view in time.
        kind: of `KINDS`.
        most: upper limit; of more clips, the same number, +-1, is drawn from each recording.
        seed: of the draw.

    Returns:
        Their table and embeddings. A row has the `clip_id` and the metadata of the clip whose
        middle frame it is; of a background, `clip_id` is the recording's `video`.

    Raises:
        ValueError: an unknown kind, or no clip of a class.
    """
    if kind not in KINDS:
        raise ValueError(f"kind {kind!r} of single frames; choose {', '.join(KINDS)}")
    out = epath.Path(out)
    folder = out.parent / out.stem
    if partitioning.is_writer():
        write(dataset, folder, kind=kind, most=most, seed=seed)
    partitioning.wait_for_all(f"{folder} is written")
    frames = config.frames or int(records.read_index(dataset)["frames"].iloc[0])
    made_of = files.fingerprint(projector.fingerprint, "repeated", frames)
    embedding.embed(
        folder,
        out,
        dataclasses.replace(projector, fingerprint=made_of),
        dataclasses.replace(config, frames=0, views=1),
        shown=frames,
        label=f"embedding ({kind}s)",
    )
    return embeddings.read(out)


def write(
    dataset: epath.PathLike, folder: epath.PathLike, *, kind: str, most: int, seed: int
) -> bool:
    """Writes a dataset of single frames, each a clip of one frame.

    Returns False if `folder` already holds exactly these frames.

    Raises:
        ValueError: the dataset has no clip of a class.
    """
    folder = epath.Path(folder)
    made_of = (records.read_manifest(dataset)["fingerprint"], kind, most, seed)
    fingerprint = files.fingerprint(_VERSION, *made_of)
    manifest = folder / records.MANIFEST_FILE
    if manifest.exists() and files.read_json(manifest).get("fingerprint") == fingerprint:
        return False
    source = records.RecordSource(dataset)
    used = classification_rows(source.index)
    if not used.any():
        raise ValueError(f"{dataset}: no clip of a class, so there are no single frames")
    videos = source.index["video"].to_numpy()
    positions = np.flatnonzero(used)
    if kind == "background":
        positions = positions[~pd.Series(videos[positions]).duplicated().to_numpy()]
    positions = positions[_draw(videos[positions], most, seed)]
    writer = DatasetWriter(folder)
    with tqdm.tqdm(positions.tolist(), desc=f"single frames ({kind})", unit="frame") as bar:
        writer.write_shard(_SHARD, _encode(source, bar, kind))
    writer.finish(fingerprint)
    return True


def _draw(videos: np.ndarray, most: int, seed: int) -> Int[np.ndarray, " drawn"]:
    """Returns the places of at most `most` clips, ascending, in turn from each recording."""
    shuffled = np.random.default_rng(seed).permutation(len(videos))
    turn = pd.Series(videos[shuffled]).groupby(videos[shuffled]).cumcount().to_numpy()
    return np.sort(shuffled[np.argsort(turn, kind="stable")[:most]])


def _encode(source: records.RecordSource, positions: Iterable[int], kind: str) -> Iterator[Encoded]:
    """Yields the index row and the Example of each single frame."""
    videos = source.index["video"].to_numpy()
    for position in positions:
        row = source.index.iloc[position]
        about = {name: row[name] for name in ("split", *records.METADATA)}
        if kind == "background":
            own = np.flatnonzero(videos == row["video"]).tolist()
            median = backgrounds.read_median(source, own)
            jpeg = simplejpeg.encode_jpeg(median, quality=_JPEG_QUALITY, colorsubsampling="444")
            about |= {"clip_id": row["video"], "start_frame": 0, "padded_frames": 0}
        else:
            jpegs = records.decode_example(source[position])["frames"]
            jpeg = bytes(jpegs[len(jpegs) // 2])
        height, width = clips.frame_size(jpeg)
        about |= {"frames": 1, "height": height, "width": width}
        yield about, records.encode_example(about, [jpeg])
