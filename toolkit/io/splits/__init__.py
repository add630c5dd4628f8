"""Splits of samples: their files, and random splits by groups."""
