"""Reads, checks and splits `cohort.csv`: `python -m data_prep.cohort cohort.csv`.

A row is a recording. Cells are separated by comma, semicolon or tab (with the last two, 0,5 is also
a number); text is UTF-8, with or without a BOM, or else Windows-1252. Columns:

    video            path, absolute or relative to the csv; also the recording's name
    animal           has one condition, one sex, one cage
    condition, day   what was induced, and whole days since (negative: before); or instead:
    label            any other class; used even if condition and day are given too
    cage, sex        optional; sex is M or F
    drug             empty: untreated; vehicle: the control arm; else the drug's name
    dose_mg_per_kg   above 0 for a drug; 0 or empty for vehicle; empty when untreated
    minutes_post_dose, route   optional; the minutes only with a drug or vehicle
    split            optional: train, val, test or drug, in all rows or in none
    fps, roi, pose   optional: frames/s; x:y:w:h in px; path of a pose file
    date, camera     optional: date (YYYY-MM-DD) and camera of the recording, for the audit of
                     confounds

All rows of an animal with a drug or vehicle row are in the split `drug`: never trained on.
"""

from absl import flags

from data_prep.cohort.table import check
from mpjax import cli

if __name__ == "__main__":
    named = flags.DEFINE_string("cohort", "", "Path of cohort.csv, instead of an argument.")
    cli.start(
        lambda config, *words: check(config, cli.one_word(words, named, needed=True)), words=True
    )
