"""Videos and a cohort table in, TFRecord shards out."""
