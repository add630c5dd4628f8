"""The plugins that a study names are known while its test runs, and to no other test."""

from tests.support.plugins_of_one_test import plugins_of_this_test

__all__ = ['plugins_of_this_test']
