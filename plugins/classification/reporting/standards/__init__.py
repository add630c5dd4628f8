"""Checklists of reporting standards, filled from the files of a run."""
