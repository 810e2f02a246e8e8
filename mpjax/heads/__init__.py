"""Which class does an embedding belong to: heads trained on frozen embeddings."""
