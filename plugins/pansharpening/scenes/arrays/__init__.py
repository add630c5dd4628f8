"""Scenes in arrays: in memory, in numpy and in MATLAB files."""
