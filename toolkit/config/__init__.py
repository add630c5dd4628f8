"""YAML configs: loaded with their origins, checked whole, shown and compared."""

from toolkit.config.load import Config, from_tree, load
from toolkit.config.yamlfile import ConfigError, Origin, Problem

__all__ = ['Config', 'ConfigError', 'Origin', 'Problem', 'from_tree', 'load']
