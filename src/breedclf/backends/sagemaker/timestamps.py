"""Times in AWS responses as seconds since 1970."""

from __future__ import annotations

from datetime import datetime
from typing import overload


@overload
def epoch_seconds(moment: datetime) -> float: ...
@overload
def epoch_seconds(moment: None) -> None: ...
@overload
def epoch_seconds(moment: datetime | None) -> float | None: ...
def epoch_seconds(moment: datetime | None) -> float | None:
    """Seconds since 1970 (UTC); None stays None.

    Example:
        >>> from datetime import UTC
        >>> epoch_seconds(datetime(1970, 1, 2, tzinfo=UTC))
        86400.0
    """
    return None if moment is None else moment.timestamp()
