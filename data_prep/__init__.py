"""How do videos and a cohort table become TFRecord shards?"""
