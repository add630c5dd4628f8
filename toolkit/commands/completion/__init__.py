"""Completion of `toolkit` in bash, zsh and fish."""
