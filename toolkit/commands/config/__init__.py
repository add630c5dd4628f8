"""Commands that read a config: check, diff, schema, show."""
