"""Reads a report as a reader would."""

import base64
import csv
import io
import re

# Leaves on the page what a browser made of it.
MEASURE = """<script>addEventListener("load", () => {
  const page = document.documentElement;
  page.dataset.measured = JSON.stringify({
    spare: page.clientWidth - page.scrollWidth, width: page.clientWidth,
    broken: [...document.images].filter((image) => !image.naturalWidth).length,
    figures: [...document.querySelectorAll("figure svg")].filter((s) => s.clientHeight > 40).length,
  });
});</script></body>"""
SECTIONS = ("classification", "calibration", "leak", "days", "drug", "specificity", "map",
            "methods", "arrive", "limits", "provenance")  # fmt: skip


def downloads(page):
    """Returns the rows of every CSV of the page by its name."""
    links = re.findall(r'<a href="data:text/csv;[^,"]*,([^"]*)" download="([^"]+)\.csv"', page)
    assert len({name for _, name in links}) == len(links)
    return {
        name: list(csv.DictReader(io.StringIO(base64.b64decode(encoded).decode())))
        for encoded, name in links
    }


def shown(page, caption):
    """Returns the cells of a table of the page, a list per row of its body."""
    table = page[page.index(f'aria-label="{caption}, table"') :]
    body = table[table.index("<tbody>") : table.index("</tbody>")]
    return [
        [text(cell).strip() for cell in re.split(r"</t[dh]>", row)[:-1]]
        for row in re.findall(r"<tr>(.*?)</tr>", body, flags=re.DOTALL)
    ]


def text(page):
    """Returns the words of the page, figures left out."""
    page = re.sub(r"<(style|svg|title).*?</\1>", "", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"</t[dhr]>", " ", re.sub(r"<(?!/t[dhr]>)[^>]+>", "", page)))
