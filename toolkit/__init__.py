"""Ablakit's engine: registry, configs, training, studies, reports. It knows no task, no paper."""

__version__ = '0.1.0'
