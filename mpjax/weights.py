"""Lists and downloads public weights of Video Swin.

  python -m mpjax.weights list         what there is: size, accuracy, licence, what is here already
  python -m mpjax.weights get NAME     downloads one, checks it, and prints where it is

A file is downloaded once, to the folder of --cache, of the environment variable MPJAX_CACHE, or to
the system's cache folder. Its name can be used for weights everywhere:
mpjax.load_projector("swin3d_t"), or --config.projector.weights=swin3d_t. After --cache, set
MPJAX_CACHE to that folder, or give the printed path instead of the name.
"""

from absl import app, flags

from mpjax import cli
from mpjax.models.weights import public


def run(*words: str, cache: str = "") -> None:
    """Runs the command `list`, or `get` with a name, on the cache folder (see `cache_folder`).

    Raises:
        ValueError: there are no weights of that name; or the file is not the true one.
        ConnectionError: it could not be downloaded.
    """
    folder = public.cache_folder(cache)
    match words:
        case ("list",):
            print(public.table(folder))
        case ("get", name):
            weights = public.find(name)
            if weights is None:
                names = ", ".join(weights.name for weights in public.PUBLIC)
                raise ValueError(f"no public weights are called {name!r}; there are {names}")
            path = public.download(weights, folder)
            print(path)
            print(
                f"next: python -m mpjax.study --config=demo --workdir=out/{name} "
                f"--config.projector.weights={path}"
            )
        case _:
            got = " ".join(words) or "nothing"
            raise app.UsageError(f"got {got!r}; write `list` or `get NAME`")


if __name__ == "__main__":
    chosen = flags.DEFINE_string("cache", "", "Cache folder; empty: $MPJAX_CACHE, or the system's.")
    cli.start_plain(lambda *words: run(*words, cache=chosen.value), words=True)
