"""What a config costs: parameters, operations, time."""
