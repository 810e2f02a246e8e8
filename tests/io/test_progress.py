"""The rate of a bar does not count the first item, which compiles."""

import re
import time

import pytest

from mpjax.io import progress


def slow_first(count, first):
    for i in range(count):
        time.sleep(first if i == 0 else 0.01)
        yield i


@pytest.mark.parametrize("initial", [0, 3])
def test_the_first_item_is_announced_and_not_counted_into_the_rate(capsys, initial):
    total = 40
    items = slow_first(total - initial, 1.5)
    shown = progress.after_first(items, desc="work", unit="part", total=total, initial=initial)
    assert list(shown) == list(range(total - initial))
    told = capsys.readouterr().err
    assert re.search(rf"work, compiling: .* {initial}/{total} ", told)
    assert told.count("compiling") < 3
    rate = float(re.findall(r"([\d.]+)part/s", told)[-1])
    assert rate > 30  # with the first item it would be below 22
    assert f"{total}/{total}" in told


def test_nothing_is_shown_of_nothing_or_where_it_is_disabled(capsys):
    assert list(progress.after_first([], desc="a", unit="b", total=2, initial=2)) == []
    capsys.readouterr()
    assert list(progress.after_first([1], desc="a", unit="b", total=1, disable=True)) == [1]
    assert capsys.readouterr().err == ""
