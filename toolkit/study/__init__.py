"""Studies: plans, fingerprints, reconciliation with results on disk, and execution."""
