"""TFRecord source, clip transforms and grain pipelines."""
