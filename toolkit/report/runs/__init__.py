"""What the report reads of each run: its config, environment, curves and values."""
