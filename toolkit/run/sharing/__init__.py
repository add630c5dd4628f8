"""Runs as folders that others can use: pushed to a folder or a model hub, and pulled from there."""
