"""Commands that share runs: push, pull."""
