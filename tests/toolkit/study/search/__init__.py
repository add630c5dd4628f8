"""Searches: space, sampler, early ends, and the loop."""
