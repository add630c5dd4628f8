"""Configs of mmengine in Python, read without running them and rewritten as YAML."""
