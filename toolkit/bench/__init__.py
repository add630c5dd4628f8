"""Benchmarks: parameters, operations and time of a config, overhead of the engine, GPUs."""
