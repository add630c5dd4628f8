"""Benchmarks: results of several methods on archives of scenes."""
