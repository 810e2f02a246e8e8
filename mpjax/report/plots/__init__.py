"""Figures of the report as SVG text: same input, same bytes."""
