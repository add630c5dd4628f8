"""Audit of pansharpening data: scenes given twice, misplaced, of other ranges, or damaged."""
