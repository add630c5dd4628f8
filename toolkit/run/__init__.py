"""One run on disk: training, testing, repeating, and the capsule that records it."""
