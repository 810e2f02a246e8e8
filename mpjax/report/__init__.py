"""What did the study find, and how can a reader check it? One page of HTML, and a rating page.

`mpjax.report.page` writes the report; rating does not import it, and with it matplotlib.
"""

from mpjax.report.panels import Pictures

__all__ = ["Pictures"]
