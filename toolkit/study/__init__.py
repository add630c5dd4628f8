"""Studies: variants x seeds, planned, run, and what they found."""
