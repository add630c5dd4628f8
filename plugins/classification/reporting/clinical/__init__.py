"""The clinical report of a test: values with intervals, their text, contradicting decisions."""
