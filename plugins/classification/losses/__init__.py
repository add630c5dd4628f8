"""Losses between the logits and the labels of one task."""
