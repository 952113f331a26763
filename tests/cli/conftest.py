"""The local backend and its jobs, as the tests of backends have them."""

from tests.backends.conftest import backend, submit

__all__ = ["backend", "submit"]
