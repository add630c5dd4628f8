"""YAML configs: loaded with their origins, checked whole, shown and compared."""

from toolkit.config.load import Config, load
from toolkit.config.yaml_file import ConfigError, Origin, Problem

__all__ = ['Config', 'ConfigError', 'Origin', 'Problem', 'load']
