"""Contracts of kinds: what a component of a kind promises, and checks that hold it to that."""
