"""Studies of any program: a command line, its overrides, and the metrics that it leaves."""
