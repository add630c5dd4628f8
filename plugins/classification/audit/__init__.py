"""Audits labelled images before a training: duplicates, leaks, damaged files."""
