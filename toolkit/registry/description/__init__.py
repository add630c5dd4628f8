"""Descriptions of components, kinds and built objects: as data, as text, and for notebooks."""
