"""Commands that make or use a run: train, test, predict, export, rerun."""
