"""Processes that the process of a job starts: foreign programs, and trainings by torchrun."""
