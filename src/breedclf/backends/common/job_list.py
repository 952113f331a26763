"""`JobList`: the descriptions of all jobs of a home folder; ended jobs are read again only if their file changed."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from pathlib import Path

from breedclf.backends.common.folder import DamagedJobError, JobFolder, jobs_root
from breedclf.errors import ConfigError, JobError
from breedclf.files.file_stat import FileStat
from breedclf.jobs import JobDescription, is_name

_Known = tuple[FileStat | None, JobDescription | None]

log: logging.Logger = logging.getLogger(__name__)


@dataclass
class JobList:
    """What was read of each job of a home folder; any number of threads may read at the same time.

    `describe` returns the current state of a job that hasn't ended.
    """

    home: Path
    describe: Callable[[str], JobDescription]
    _known: dict[str, _Known] = field(default_factory=dict)
    _open: tuple[str, ...] = ()
    _root: str = field(init=False)

    def __post_init__(self) -> None:
        self._root = str(jobs_root(self.home))

    def read(self) -> list[JobDescription]:
        """All jobs, oldest first; a damaged one is Failed and has `details["damaged"]`.

        Jobs of another version of breedclf are left out, with one warning each.
        """
        before, now = self._known, dict[str, _Known]()
        found = []
        for name, stat in _state_files(self._root):
            known = before.get(name)
            if known is None or known[0] != stat:
                known = (stat, self._read(name, stat))
            description = known[1]
            if description is None or description.status.is_final:
                now[name] = known
            if description is not None:
                found.append(description)
        self._known = now
        self._open = tuple(job.name for job in found if not job.status.is_final)
        return sorted(found, key=lambda description: (description.created, description.name))

    @property
    def is_over(self) -> bool:
        """Whether all jobs had ended when they were read."""
        return not self._open

    @property
    def changed(self) -> float:
        """When a job was added or removed, in seconds since 1970; 0 if there was none."""
        found = FileStat.at(self._root)
        return 0.0 if found is None else found.mtime_ns / 1e9

    def stamp(self) -> Hashable:
        """What identifies the folder of jobs, and the state files of those that hadn't ended when they were read."""
        return FileStat.at(self._root), tuple(self._stat_of(name) for name in self._open)

    def ended(self, name: str) -> JobDescription | None:
        """The description of a job that had ended when it was read last, if its file hasn't changed since."""
        stat, description = self._known.get(name, (None, None))
        return description if stat is not None and stat == self._stat_of(name) else None

    def read_one(self, name: str, read: Callable[[], JobDescription]) -> JobDescription:
        """The description of a job, read unless it is known that it has ended; a damaged one is always read."""
        known = self.ended(name)
        if known is not None and not known.details.get("damaged"):
            return known
        stat = self._stat_of(name)
        description = read()
        if description.status.is_final:
            self._known[name] = (stat, _shared(description))
        return description

    def _stat_of(self, name: str) -> FileStat | None:
        return FileStat.at(f"{self._root}/{name}/job.json")

    def _read(self, name: str, stat: FileStat | None) -> JobDescription | None:
        folder = JobFolder(jobs_root(self.home) / name)
        try:
            if stat is None and is_name(name):
                return folder.damaged(f"{folder.state_file} is missing; `breedclf jobs clean {name}` deletes the rest")
            description = folder.read_description()
            return _shared(description) if description.status.is_final else self.describe(name)
        except DamagedJobError as error:
            return folder.damaged(str(error))
        except (JobError, ConfigError) as error:
            if folder.path.exists():
                log.warning("job skipped: %s", error)
            return None
        except FileNotFoundError:  # it was deleted in this instant
            return None


def _state_files(root: str) -> list[tuple[str, FileStat | None]]:
    """The name of each folder in `root`, and what identifies the content of its `job.json`; None if it has none."""
    try:
        with os.scandir(root) as entries:
            names = [each.name for each in entries if not each.name.startswith(".") and each.is_dir()]
    except FileNotFoundError:
        return []
    return [(name, FileStat.at(f"{root}/{name}/job.json")) for name in names]


def _shared(description: JobDescription) -> JobDescription:
    """The same description, whose texts use the memory of equal ones in other jobs."""
    pairs = description.hyperparameters.items()
    return replace(description, hyperparameters={sys.intern(name): sys.intern(value) for name, value in pairs})
