"""The files of a study's folder: every name once, with the stage that writes it."""

import os

from etils import epath

from mpjax.io import stores


class Workdir:
    """The folder of a study, local or of a store, and the path of everything in it."""

    def __init__(self, path: epath.PathLike):
        root = self.root = stores.ready(os.fspath(path))
        # The study as a whole.
        self.settings = root / "study.json"
        self.synthetic_cohort = root / "cohort"
        self.synthetic_table = root / "cohort" / "cohort.csv"
        # data_prep.build
        self.dataset = root / "dataset"
        self.video_hashes = root / ".video_hashes.json"
        # embed, train
        self.embeddings = root / "embeddings.parquet"
        self.projector_note = root / "projector.json"
        self.projector = root / "projector"  # where it was trained
        self.training = root / "train"
        self.heads = root / "heads"
        self.sweep = root / "sweep.csv"
        # explain
        self.explain = explain = root / "explain"
        self.windows = explain / "windows.parquet"
        self.gallery = explain / "gallery"
        self.saliency = explain / "saliency.json"
        self.saliency_images = explain / "saliency"
        self.scenes = explain / "scenes.parquet"
        self.pixels = explain / "pixels.parquet"
        self.random_embeddings = explain / "random" / "embeddings.parquet"
        self.random_heads = explain / "random" / "heads"
        self.bsoid_predictions = explain / "bsoid.parquet"
        self.bsoid = explain / "bsoid.json"
        self.bsoid_cache = explain / "bsoid"
        # eval, rate
        self.predictions = root / "predictions.parquet"
        self.metrics = root / "metrics.json"
        self.report = root / "report.html"
        self.report_stamp = root / ".report.json"
        self.raters = root / "raters.json"
        # A notebook.
        self.results = root / "results.zip"

    def codebook(self, name: str) -> epath.Path:
        """Returns the path of a codebook of motifs: `final`, or `fold_<k>`."""
        return self.explain / f"codebook-{name}.npz"

    def still_embeddings(self, kind: str) -> epath.Path:
        """Returns the path of the embeddings of single frames, or of backgrounds."""
        return self.explain / f"still-{kind}.parquet"

    def __fspath__(self) -> str:
        return os.fspath(self.root)

    def __str__(self) -> str:
        return str(self.root)


def check_output_folder(folder: epath.PathLike) -> epath.Path:
    """Returns the folder of `--out`, unless files of a study would be overwritten in it.

    Raises:
        ValueError: an empty name, or the folder of a study.
        NotADirectoryError: a file.
    """
    place = Workdir(folder)
    if place.root.exists() and not place.root.is_dir():
        raise NotADirectoryError(f"{place}: --out needs a folder, and this is a file")
    if any(path.exists() for path in (place.dataset, place.heads, place.report_stamp)):
        raise ValueError(
            f"{place}: holds a study, whose own files would be overwritten; choose another folder, "
            f"e.g. --out={place.root / 'tables'}"
        )
    return place.root
