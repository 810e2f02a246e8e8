"""What does each section of the report show? A module per section: sentences, tables, figures.

`tabulate` and `draw` of a section get its part of metrics.json, empty where there is none, and
`tasks`: its `fine` and, where there is one, `coarse`. They return by name only the tables that have
rows, and the figures that have something to show.
"""

__all__ = ["answers", "raters"]
