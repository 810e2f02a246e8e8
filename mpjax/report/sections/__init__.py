"""What does each section of the report show? A module per section: sentences, tables, figures."""

__all__ = ["answers", "raters"]
