"""Scenes of satellite images: sensors, rasters, arrays, alignment, manifests."""
