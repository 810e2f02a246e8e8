"""How do blinded raters answer? On one page that needs no network."""

from mpjax.report.rating.page import describe_package, render, write

__all__ = ["describe_package", "render", "write"]
