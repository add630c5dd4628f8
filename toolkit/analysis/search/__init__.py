"""Analysis of a search: its trials in order of their values, their table, and the best so far."""
