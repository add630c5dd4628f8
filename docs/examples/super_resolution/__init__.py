"""Single-image super-resolution: a task as a plugin, with all that a task can have."""
