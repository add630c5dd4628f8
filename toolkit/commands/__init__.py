"""The built-in commands of the command line."""
