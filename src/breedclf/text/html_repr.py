"""`_repr_html_` methods, which notebooks call: they must not raise, whatever the state of the object."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

log: logging.Logger = logging.getLogger(__name__)


def html_repr(make: Callable[[T], str]) -> Callable[[T], str | None]:
    """A method that returns HTML, or None if that fails: the notebook then shows the plain repr."""

    @functools.wraps(make)
    def method(self: T) -> str | None:
        try:
            return make(self)
        except Exception:
            log.debug("no HTML for %s", type(self).__name__, exc_info=True)
            return None

    return method
