"""Beartype that takes an int where a float is asked for, as Python's typing does (PEP 484)."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
