"""Effects of the switches of a study with a design."""
