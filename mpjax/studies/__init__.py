"""One study: its folder, its stages, its results."""
