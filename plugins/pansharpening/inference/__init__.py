"""Scenes of any size through a network or method: read, computed and written window by window."""
