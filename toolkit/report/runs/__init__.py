"""Parts of each run that the report reads: its config, environment, curves and values."""
