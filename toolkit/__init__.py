"""Ablakit's engine: registry, configs, training, studies and reports. It knows no task and no paper."""

__version__ = '0.1.0'
