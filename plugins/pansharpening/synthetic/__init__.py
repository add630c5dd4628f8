"""Synthetic scenes: landscape, spectra and noise."""
