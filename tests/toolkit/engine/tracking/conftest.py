"""The tiny components as a plugin while the tests of this folder run."""

from tests.support.tiny_plugin import config, one_thread, tiny_plugin, tree

__all__ = ['config', 'one_thread', 'tiny_plugin', 'tree']
