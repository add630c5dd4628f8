"""The built-in plugins: a folder per task, and one per paper or family of parts."""
