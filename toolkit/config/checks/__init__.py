"""Checks of a config against signatures, ranges and the rules of optimization."""
