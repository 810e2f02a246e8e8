"""Which class does an embedding belong to? Linear heads on frozen embeddings."""
