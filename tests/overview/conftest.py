"""The images that searches of tests are started with."""

from tests.tuning.conftest import data

__all__ = ["data"]
