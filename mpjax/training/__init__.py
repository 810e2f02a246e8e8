"""Steps, optimisation and checkpoints."""
