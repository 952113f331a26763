"""Keys in saved files that this version doesn't know: they are ignored, and one warning names them."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import lru_cache

log: logging.Logger = logging.getLogger(__name__)

_MOST_SHOWN = 10


def warn_of_unknown_keys(source: object, names: Iterable[str]) -> None:
    """Log one warning per file and process that names the keys; nothing if there are none.

    Example:
        >>> warn_of_unknown_keys("breedclf.json", [])
    """
    if found := tuple(sorted(names)):
        _warn(str(source), found)


@lru_cache(maxsize=1_000)
def _warn(source: str, names: tuple[str, ...]) -> None:
    shown = ", ".join(names[:_MOST_SHOWN]) + (f" and {len(names) - _MOST_SHOWN} more" * (len(names) > _MOST_SHOWN))
    log.warning("%s has keys that this version of breedclf doesn't know, and ignores: %s", source, shown)
