"""Tests, by room. What they share is in `helpers`, which pytest puts on the path."""
