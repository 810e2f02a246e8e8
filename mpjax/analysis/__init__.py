"""Statistics on predictions; no JAX here."""
