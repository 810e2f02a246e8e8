"""Progress bars whose time left is true."""

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

import tqdm

T = TypeVar("T")


def after_first(
    items: Iterable[T], *, desc: str, unit: str, total: int, initial: int = 0, disable: bool = False
) -> Iterator[T]:
    """Yields `items` behind a bar whose rate leaves out the first one, which may compile programs.

    Args:
        desc: what is done; until the first item is there, with the word compiling.
        total: of the items, with `initial` ones that an earlier run has finished.
        disable: shows nothing.
    """
    options = {"unit": unit, "total": total, "initial": initial, "disable": disable}
    with tqdm.tqdm(desc=f"{desc}, compiling", **options) as bar:
        for number, item in enumerate(items):
            yield item
            if number:
                bar.update()
                continue
            bar.n = bar.initial = bar.last_print_n = initial + 1  # the rate counts from here
            bar.start_t = bar.last_print_t = time.time()
            bar.set_description(desc)
