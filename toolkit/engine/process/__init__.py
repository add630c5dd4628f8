"""State of the process of a run: ranks, device, precision, random seeds, signals."""
