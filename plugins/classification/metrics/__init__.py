"""Metrics of classification and the hook that calibrates probabilities."""
