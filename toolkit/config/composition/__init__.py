"""Composition of a config: bases merged, overrides applied, references resolved."""
