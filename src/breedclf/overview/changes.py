"""What changed since a cursor, over any number of named values."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Changes:
    """The names of what changed after a cursor, and the cursor to continue from."""

    cursor: str
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


@dataclass
class ChangeLog:
    """Records the revision at which each value changed last.

    A cursor is opaque to its reader. One of another log, as of a server that was restarted, reads as the beginning:
    everything has changed since.

    Example:
        >>> log = ChangeLog()
        >>> log.update({"a": "1", "b": "1"})
        True
        >>> cursor = log.cursor
        >>> log.update({"a": "2", "b": "1"})
        True
        >>> log.since(cursor).changed
        ('a',)
    """

    _name: str = field(default_factory=lambda: secrets.token_hex(4))
    _revision: int = 0
    _known: dict[str, tuple[bytes, int]] = field(default_factory=dict)
    _removed: dict[str, int] = field(default_factory=dict)

    @property
    def cursor(self) -> str:
        """The cursor of this moment."""
        return f"{self._name}-{self._revision}"

    def update(self, values: Mapping[str, str]) -> bool:
        """Take the present values; returns whether any of them is new, different or gone."""
        digests = {name: hashlib.blake2b(value.encode(), digest_size=16).digest() for name, value in values.items()}
        changed = [name for name, digest in digests.items() if self._known.get(name, (b"", 0))[0] != digest]
        removed = [name for name in self._known if name not in digests]
        if not changed and not removed:
            return False
        self._revision += 1
        for name in changed:
            self._known[name] = (digests[name], self._revision)
            self._removed.pop(name, None)
        for name in removed:
            del self._known[name]
            self._removed[name] = self._revision
        return True

    def since(self, cursor: str) -> Changes:
        """What changed after the cursor; everything if it is unknown."""
        after = self._revision_of(cursor)
        return Changes(
            self.cursor,
            tuple(name for name, (_, revision) in self._known.items() if revision > after),
            tuple(name for name, revision in self._removed.items() if revision > after),
        )

    def _revision_of(self, cursor: str) -> int:
        name, _, revision = cursor.partition("-")
        known = name == self._name and revision.isdecimal() and int(revision) <= self._revision
        return int(revision) if known else 0
