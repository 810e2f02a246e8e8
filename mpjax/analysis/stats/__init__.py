"""How sure can one be: units, intervals, tests, effect sizes, multiplicity."""
