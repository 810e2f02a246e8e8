"""What did the study find, and how can a reader check it? One page of HTML, and a rating page."""

from typing import TYPE_CHECKING, Any

from mpjax.report.panels import Pictures

if TYPE_CHECKING:
    from mpjax.report.page import render_report, write_report

__all__ = ["Pictures", "render_report", "write_report"]


def __getattr__(name: str) -> Any:
    # Matplotlib loads on first use: rating and reading a study do without it.
    if name in __all__:
        from mpjax.report import page

        return vars(page)[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
