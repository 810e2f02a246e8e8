"""How do other tools read a study: tables, NWB, BORIS, StableHLO."""
