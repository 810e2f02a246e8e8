import base64
import csv
import io

from mpjax.report.columns import estimate, points_estimate, share_estimate, text
from mpjax.report.sections.drug import reasons
from mpjax.report.tables import WHY, Table, spread


def test_a_download_keeps_every_digit_and_every_name():
    rows = [
        {"animal": 'a, "b"\n=c', **spread("x", {"value": 1 / 3, "ci95": [0.1, 0.7]}), WHY: ""},
        {"animal": "ü", **spread("x", {"value": None, "why": "no"}), WHY: "no"},
    ]
    table = Table("t", "T", rows, [text("Animal", "animal"), estimate("X", "x")])
    header, encoded = table.uri.split(",")
    assert header == "data:text/csv;charset=utf-8;base64"
    read = list(csv.DictReader(io.StringIO(base64.b64decode(encoded).decode(), newline="")))
    assert read[0]["animal"] == 'a, "b"\n=c'
    assert [float(read[0][key]) for key in ("x", "x_ci_low", "x_ci_high")] == [1 / 3, 0.1, 0.7]
    assert (read[1]["animal"], read[1]["x"], read[1][WHY]) == ("ü", "", "no")
    assert table.reasons == ["", "no"]


def test_a_column_of_estimates_shows_the_interval_below():
    row = spread("x", {"value": 0.25, "ci95": [-0.5, 0.75]})
    assert estimate("X", "x").below(row) == "−0.50 to 0.75"
    assert share_estimate("X", "x").cell(row) == "25.0 %"
    assert points_estimate("X", "x").below(row) == "−50.0 to 75.0"
    assert estimate("X", "x").below(spread("x", {"value": 1.0, "ci95": None})) == "–"


def test_reasons_are_found_for_a_part_and_for_one_condition_of_it():
    assert reasons({"value": None, "why": "no motion"}) == ["no motion"]
    assert reasons({"sham": {"value": None, "why": "no vehicle"}, "why": []}) == [
        "sham: no vehicle"
    ]
