"""Writes a cohort table for a folder of videos to fill in: `python -m data_prep.template DIR`.

File names fill in what a pattern finds in them; the rest stays empty, for you to complete in a
spreadsheet or an editor. An existing table is never overwritten.

A pattern is a file's name without its ending, with folders above it where needed. {FIELD} stands
for a value, * for anything, and _ also matches a space, a dot or a dash:

  --pattern='{animal}_d{day}'                   m07_d14.mp4: animal m07, day 14
  --pattern='{condition}/{animal}_{day}_*'      cfa/m07_14_cam2.mp4: condition cfa, m07, day 14
  --pattern='{animal}_d{day}_{drug}_{dose}mgkg_{minutes}min'

Fields are animal, condition, day, cage, sex, drug, dose (mg/kg), minutes (after the dose) and label
(any other class, instead of condition and day). The first --pattern that fits is used. The default
patterns are:

  {animal}_d{day}    {animal}_day{day}    {animal}_d{day}_{drug}
  {animal}_d{day}_{drug}_{dose}mgkg       {animal}_d{day}_{drug}_{dose}mgkg_{minutes}min
"""

from pathlib import Path

from absl import app, flags

from data_prep.cohort.template import describe, write
from mpjax import cli


def main() -> None:
    """Runs the binary."""
    out = flags.DEFINE_string("out", "", "Path of the csv; default: DIR/cohort.csv.")
    pattern = flags.DEFINE_multi_string("pattern", [], "How file names are built, see above.")
    recursive = flags.DEFINE_bool("recursive", False, "Search subfolders of DIR too.")

    def run(*words: str) -> int:
        if len(words) != 1:
            raise app.UsageError(f"name one folder of videos; got {' and '.join(words) or 'none'}")
        template = write(
            Path(words[0]),
            out=Path(out.value) if out.value else None,
            patterns=pattern.value,
            recursive=recursive.value,
        )
        for line in describe(template):
            print(line)
        return int(bool(template.failures))

    cli.start_plain(run, words=True)


if __name__ == "__main__":
    main()
