"""Training: the loops, one step, the optimizer with its schedules, the meter of losses."""
