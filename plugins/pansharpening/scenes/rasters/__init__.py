"""Georeferenced rasters: bands read by windows, alignment, names and drivers, missing pixels."""
