"""Profiles of jobs and of runs on this machine: where they are, and what they say first."""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from breedclf.errors import BreedclfError, ProfileError
from breedclf.jobs import Backend, JobDescription, OutputHereBackend
from breedclf.overview.folders import WatchedFolders, key_of
from breedclf.profiling.profile import FILE_NAME, Profile
from breedclf.profiling.rules import Finding, check
from breedclf.profiling.sources import find_profile, open_profile
from breedclf.profiling.verified import FILE_NAME as VERIFICATION_FILE, Verification, read_verification
from breedclf.reporting.blocks import Tone

SUMMARY_RULE = "ProfilerReport"
MOST_BYTES = 128 << 20
_KEPT = 6
_DAMAGE = (BreedclfError, OSError, ValueError, TypeError, LookupError, ArithmeticError, RecursionError)

Signature = tuple[int, ...]


@dataclass(frozen=True)
class ProfileView:
    """A recorded run that was found, not read yet.

    Args:
        name: its name in addresses: that of its job, or one with a dot for a folder.
        title: the job, or the folder below the folder of runs.
        path: the recorded file, or a folder of SageMaker's files.
        job: the job that recorded it; empty for other runs.
        is_active: whether that job hasn't ended.
        changed: when it was written last, in seconds since 1970.
        signature: differs whenever the files do.
    """

    name: str
    title: str
    path: Path
    job: str
    is_active: bool
    changed: float
    signature: Signature

    @property
    def folder(self) -> Path:
        """The folder of the recorded run."""
        return self.path if self.path.is_dir() else self.path.parent

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "name": self.name,
            "path": str(self.path),
            "job": self.job or None,
            "active": self.is_active,
            "changed": self.changed,
        }


@dataclass(frozen=True)
class Verdict:
    """The first thing to know about a run: its biggest finding and what to change, with the measured effect if any."""

    tone: Tone
    heading: str
    evidence: str = ""
    advice: str = ""
    effect: str = ""


@dataclass(frozen=True, eq=False)
class ReadProfile:
    """A recorded run with what the rules find in it; without a profile, `verdict` says why it can't be read."""

    view: ProfileView
    verdict: Verdict
    profile: Profile | None = None
    findings: tuple[Finding, ...] = ()
    verification: Verification | None = None


def verdict_of(profile: Profile, findings: Sequence[Finding], verification: Verification | None) -> Verdict:
    """Decide what is shown first.

    A measured gain comes first, then the issues: those with settings to try, then those with other advice.
    """
    issues = [each for each in findings if each.status == "issue" and each.rule != SUMMARY_RULE]
    effect = verification.sentence if verification is not None else ""
    if verification is not None and verification.recommended:
        changes = ", ".join(f"{name} = {value}" for name, value in verification.recommended.items())
        first = _first(issue for issue in issues if set(issue.changes) & set(verification.recommended))
        evidence = first.evidence if first else ""
        return Verdict("ok", f"Measurably faster: {changes}", evidence, first.advice if first else "", effect)
    biggest = _first(sorted(issues, key=lambda each: (not each.changes, not each.advice)))
    if biggest is not None:
        return Verdict("issue", biggest.rule, biggest.evidence, biggest.advice, effect)
    if any(each.status == "ok" for each in findings):
        return Verdict("ok", "No issues found", effect=effect)
    waiting = "Nothing can be said yet" if profile.job.status == "Incomplete" else "No rule could be evaluated"
    return Verdict("info", waiting, "The recording has too little data.", effect=effect)


def _first(findings: Iterable[Finding]) -> Finding | None:
    return next(iter(findings), None)


@dataclass
class Profiles:
    """Finds and reads recorded runs; what hasn't changed isn't read again. Any number of threads may ask."""

    backend: Backend
    runs: WatchedFolders
    root: Path
    _without: dict[tuple[str, float], int] = field(default_factory=dict)
    _paths: dict[tuple[str, float], Path] = field(default_factory=dict)
    _verdicts: dict[tuple[Path, Signature], Verdict] = field(default_factory=dict)
    _read: OrderedDict[tuple[Path, Signature], ReadProfile] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _reader: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="profiles"))
    _reading: Future[None] | None = None

    def all(self, jobs: Iterable[JobDescription]) -> tuple[ProfileView, ...]:
        """The recorded runs of these jobs and of the folder of runs, newest first."""
        views = [view for job in jobs if (view := self.of_job(job)) is not None]
        views += self.of_runs()
        return tuple(sorted(views, key=lambda view: (-view.changed, view.name)))

    def of_runs(self) -> list[ProfileView]:
        """The recorded runs of the folder of runs."""
        views = []
        for folder in self.runs.holding(FILE_NAME):
            shown = str(folder.relative_to(self.root))
            title = folder.absolute().name if shown == "." else shown
            if (view := _view(key_of(folder, self.root), title, folder / FILE_NAME)) is not None:
                views.append(view)
        return views

    def read(self, view: ProfileView) -> ReadProfile:
        """A recorded run with its findings; one that can't be read says so in its verdict."""
        key = _key(view)
        with self._lock:
            if key in self._read:
                self._read.move_to_end(key)
                return self._read[key]
            found = _read(view)
            self._read[key] = found
            while len(self._read) > _KEPT:
                self._read.popitem(last=False)
            self._verdicts[key] = found.verdict
            return found

    def verdicts(self, views: Sequence[ProfileView], *, seconds: float | None = None) -> dict[str, Verdict]:
        """The verdicts of recorded runs, by name.

        With a time limit, those that would take longer are left out and read in the background.
        """
        until = time.monotonic() + (float("inf") if seconds is None else seconds)
        for view in views:
            if time.monotonic() >= until:
                break
            self._read_verdict(view)
        missing = [view for view in views if _key(view) not in self._verdicts]
        with self._lock:
            if missing and (self._reading is None or self._reading.done()):
                self._reading = self._reader.submit(self._read_verdicts, missing)
        return {view.name: self._verdicts[_key(view)] for view in views if _key(view) in self._verdicts}

    def _read_verdicts(self, views: Sequence[ProfileView]) -> None:
        for view in views:
            self._read_verdict(view)

    def _read_verdict(self, view: ProfileView) -> None:
        if _key(view) not in self._verdicts:
            self._verdicts[_key(view)] = _read(view).verdict

    def of_job(self, job: JobDescription) -> ProfileView | None:
        """The recorded run of a job; None if it left none, or none is on this machine."""
        if not isinstance(self.backend, OutputHereBackend) or job.details.get("damaged"):
            return None
        key = (job.name, job.created)
        try:
            output = self.backend.output_here(job)
            path = self._paths.get(key)
            if path is None:
                changed = os.stat(output).st_mtime_ns  # noqa: PTH116 - much faster with 10,000 jobs
                if self._without.get(key) == changed and job.status.is_final:
                    return None
                path = find_profile(output)
                if path is None:
                    self._without[key] = changed
                    return None
                self._paths[key] = path
        except (OSError, BreedclfError):
            return None
        view = _view(job.name, job.name, path, job=job.name, is_active=not job.status.is_final)
        if view is None:
            self._paths.pop(key, None)
        return view


def _key(view: ProfileView) -> tuple[Path, Signature]:
    return view.path, view.signature


def _view(name: str, title: str, path: Path, *, job: str = "", is_active: bool = False) -> ProfileView | None:
    """The view of a recorded run; None if it has vanished."""
    try:
        signature = (*_signature(path), *_signature_of_verification(path))
    except OSError:
        return None
    return ProfileView(name, title, path, job, is_active, signature[0] / 1e9, signature)


def _signature(path: Path) -> Signature:
    stat = path.stat()
    if not path.is_dir():
        return stat.st_mtime_ns, stat.st_size
    stats = [(Path(parent) / name).stat() for parent, _, names in os.walk(path) for name in names]
    times = [each.st_mtime_ns for each in stats]
    return max([stat.st_mtime_ns, *times]), len(stats), sum(each.st_size for each in stats)


def _signature_of_verification(path: Path) -> Signature:
    try:
        return ((path.parent / VERIFICATION_FILE).stat().st_mtime_ns,)
    except OSError:
        return ()


def _read(view: ProfileView) -> ReadProfile:
    try:
        if view.path.is_file() and view.path.stat().st_size > MOST_BYTES:
            size = view.path.stat().st_size / 1e6
            raise ProfileError(f"it has {size:,.0f} MB; `breedclf profile {view.folder}` reads it")
        profile = open_profile(view.path)
        findings = tuple(check(profile))
    except _DAMAGE as error:
        return ReadProfile(view, Verdict("bad", "It can't be read", str(error) or type(error).__name__))
    try:
        verification = read_verification(view.folder)
    except ProfileError:
        verification = None  # the recording is there all the same
    return ReadProfile(view, verdict_of(profile, findings, verification), profile, findings, verification)
