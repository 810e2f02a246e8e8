import base64
import csv
import io

import pytest

from mpjax import formatting
from mpjax.report.columns import estimate, points_estimate, share_estimate, text
from mpjax.report.sections.drug import reasons
from mpjax.report.tables import WHY, Table, spread


@pytest.mark.parametrize(
    ("value", "shown"), [(-0.004, "0.00"), (-1.5, "−1.50"), (0.005001, "0.01"), (None, "–")]
)
def test_numbers_have_a_true_minus_sign_and_no_negative_zero(value, shown):
    assert formatting.number(value) == shown


@pytest.mark.parametrize(("p", "shown"), [(0.0004, "< 0.001"), (0.001, "0.001"), (1.0, "1.000")])
def test_a_p_value_is_never_shown_as_zero(p, shown):
    assert formatting.p_value(p) == shown


def test_an_estimate_says_its_interval_and_p_or_why_it_is_missing():
    found = {"value": -1.5, "ci95": [-2.0, -1.0], "p": 0.0002, "n": 9}
    assert formatting.estimate(found).replace("\u00a0", " ") == (
        "−1.50 (95 % CI −2.00 to −1.00), p < 0.001"
    )
    assert formatting.estimate({"value": 2.0, "ci95": None, "why": "x", "n": 1}) == "2.00"
    assert formatting.estimate({"value": None, "why": "one animal"}) == "not estimable: one animal"


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
