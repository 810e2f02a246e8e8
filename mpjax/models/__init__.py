"""Projectors and heads."""
