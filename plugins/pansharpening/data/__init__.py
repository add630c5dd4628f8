"""Datasets of pansharpening: whole scenes, patches, sets of scenes, splits, transforms."""
