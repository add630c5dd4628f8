"""Component substitution with components of several kinds, or without statistics."""
