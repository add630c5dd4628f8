"""The benchmark of whole systems: conditions timed in turns, a process each."""
