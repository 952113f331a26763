"""An interpreter without breedclf, as the tests of backends have it."""

from tests.backends.conftest import bare_python

__all__ = ["bare_python"]
