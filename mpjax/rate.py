"""Human raters, blinded, on the same held-out clips as the model.

python -m mpjax.rate make --workdir=WORKDIR --out=OUT
    draws clips of a finished study's dataset, equally many per class, and writes the folder OUT:
    open OUT/index.html by double-click, offline, or put OUT on any web server (for tablets, or
    --one_file). The key is written to OUT.key.json: keep it from the raters.

python -m mpjax.rate score --key=OUT.key.json --workdir=WORKDIR ANSWERS.json ...
    scores the files that raters downloaded from the page, against WORKDIR/predictions.parquet and
    any --against=NAME=predictions.parquet, on the same clips; prints a table, and writes
    WORKDIR/raters.json for the report of `python -m mpjax.eval`.
"""

from absl import app, flags

from mpjax import cli


def main() -> None:
    """Runs the binary."""
    workdir = flags.DEFINE_string("workdir", "", "Folder of the study.")
    out = flags.DEFINE_string("out", "", "make: folder to write; score: JSON to write.")
    clips = flags.DEFINE_integer("clips", 75, "make: clips to rate, equally many per class.")
    examples = flags.DEFINE_integer("examples", 0, "make: labelled examples per class.")
    side = flags.DEFINE_integer("side", 360, "make: px, the clips' shorter side at most.", 32)
    one_file = flags.DEFINE_bool("one_file", False, "make: all in index.html, for tablets.")
    key = flags.DEFINE_string("key", "", "score: key of the package.")
    against = flags.DEFINE_multi_string("against", [], "score: NAME=predictions.parquet.")
    incomplete = flags.DEFINE_bool("allow_incomplete", False, "score: not every clip answered.")
    bootstrap = flags.DEFINE_integer("bootstrap", 2000, "score: resamples.", 1)
    seed = flags.DEFINE_integer("seed", 0, "Seed of the draw or the resampling.", 0)

    def run(*words: str) -> None:
        from mpjax.studies import rating

        match words:
            case ("make",) if workdir.value and out.value:
                rating.make(
                    workdir.value, out.value, clips=clips.value, examples=examples.value,
                    side=side.value, one_file=one_file.value, seed=seed.value,
                )  # fmt: skip
            case ("score", *answers) if key.value:
                rating.score(
                    key.value, answers, workdir=workdir.value, against=against.value,
                    out=out.value, allow_incomplete=incomplete.value,
                    bootstrap=bootstrap.value, seed=seed.value,
                )  # fmt: skip
            case _:
                raise app.UsageError(
                    f"got {' '.join(words) or 'nothing'!r}; write `make --workdir=… --out=…` or "
                    "`score --key=… ANSWERS.json …`"
                )

    cli.start_plain(run, words=True)


if __name__ == "__main__":
    main()
