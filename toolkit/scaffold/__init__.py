"""Writes new components, plugins and tasks from templates, ready to run."""
