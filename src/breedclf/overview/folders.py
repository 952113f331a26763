"""Folders below a root that hold certain files, listed again only where something was added or removed."""

from __future__ import annotations

import hashlib
import os
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MOST_FOLDERS = 5_000
_SETTLED_NS = 2_000_000_000  # a folder may change again within the same tick of its time stamp


@dataclass(frozen=True)
class _Listing:
    """What a folder held when it was listed; `changed` and `listed` are nanoseconds since 1970."""

    changed: int
    listed: int
    folders: tuple[str, ...]
    files: frozenset[str]

    def is_current(self, changed: int) -> bool:
        return changed == self.changed and self.listed - self.changed > _SETTLED_NS


class WatchedFolders:
    """Finds files by their names in a folder and its subfolders, at most `depth` levels below it.

    Symbolic links to folders and hidden folders aren't entered, and at most 5,000 folders are.
    """

    def __init__(self, root: Path, names: frozenset[str], *, depth: int = 3) -> None:
        self._root = root
        self._names = names
        self._depth = depth
        self._known: dict[str, _Listing] = {}
        self._lock = threading.Lock()

    def holding(self, name: str) -> list[Path]:
        """The folders that hold a file of this name, sorted; what can't be read is left out."""
        with self._lock:
            seen = dict(self._walk())
            self._known = seen
        return sorted(Path(folder) for folder, listing in seen.items() if name in listing.files)

    def _walk(self) -> Iterator[tuple[str, _Listing]]:
        level = [str(self._root)]
        count = 0
        for _ in range(self._depth + 1):
            below = list[str]()
            for folder in level:
                if count == MOST_FOLDERS:
                    return
                count += 1
                if (listing := self._listing(folder)) is not None:
                    yield folder, listing
                    below += [os.path.join(folder, each) for each in listing.folders]  # noqa: PTH118 - much faster
            level = below

    def _listing(self, folder: str) -> _Listing | None:
        try:
            changed = os.stat(folder).st_mtime_ns  # noqa: PTH116 - much faster
            known = self._known.get(folder)
            if known is not None and known.is_current(changed):
                return known
            listed = time.time_ns()
            with os.scandir(folder) as entries:
                found = [(each.name, each.is_dir(follow_symlinks=False)) for each in entries]
        except OSError:
            return None
        folders = tuple(sorted(name for name, is_folder in found if is_folder and not name.startswith(".")))
        files = frozenset(name for name, is_folder in found if not is_folder and name in self._names)
        return _Listing(changed, listed, folders, files)


def key_of(folder: Path, root: Path) -> str:
    """A short name of a folder for addresses; unlike a job's name, it has a dot.

    Example:
        >>> key_of(Path("runs/journey/profile"), Path("runs")), key_of(Path("runs"), Path("runs"))
        ('runs.journey.profile', 'runs.')
        >>> key_of(Path("runs/my dogs"), Path("runs"))
        'runs.my-dogs.18b90f74'
    """
    parts = folder.relative_to(root).parts
    shown = [re.sub(r"[^A-Za-z0-9_-]+", "-", part) for part in parts]
    digest = hashlib.sha256("/".join(parts).encode(errors="surrogateescape")).hexdigest()[:8]
    return ".".join(["runs", *(shown or [""]), *([] if tuple(shown) == parts else [digest])])
