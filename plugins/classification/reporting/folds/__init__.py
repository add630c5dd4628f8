"""Out-of-fold predictions of a study as one result of each variant."""
