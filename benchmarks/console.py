"""The console with 500 jobs: first paint, delay until an epoch is seen, cost of 50 open pages, and cost to a job.

The console is a process of its own, with a job that reports an epoch each second. Readers follow the events of pages as
browsers do, all of one page or of many. Chromium measures the first paint; without it, that goal is left out. A job of
fixed work is run with and without an open page, in turns.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import psutil

from benchmarks.measuring import arguments, at_most, ratios, report
from breedclf.backends.common.folder import create_job_folder
from breedclf.backends.local.backend import LocalBackend
from breedclf.jobs import JobSpec, JobStatus, SecondaryStatus
from breedclf.jobs.handle import Job
from breedclf.testing.backend_cases import script_source
from breedclf.text.json_lines import read_json_lines

JOBS, PAGES = 500, 50
WATCHED_SECONDS = 25.0
PAUSE_SECONDS = 2.0  # between opening pages and measuring
EPOCHS = """
    import json, time
    for epoch in range(100_000):
        print("breedclf-metrics " + json.dumps({"epoch": epoch, "train_loss": 1 / (1 + epoch)}), flush=True)
        time.sleep(1)
"""
WORK = """
    import json, time
    from breedclf.runtime.quick_exit import leave
    started, value = time.monotonic(), 0
    for epoch in range(20):
        for number in range(1_500_000):
            value += number % 7
        print("breedclf-metrics " + json.dumps({"epoch": epoch, "train_loss": 1 / (1 + epoch)}), flush=True)
    print(json.dumps({"cpu": time.process_time(), "wall": time.monotonic() - started}), flush=True)
"""


@dataclass
class Console:
    """A console in a process of its own."""

    url: str
    token: str
    process: psutil.Process
    seconds_to_start: float

    def get(self, path: str) -> str:
        with self._asked(path) as connection:
            return b"".join(iter(lambda: connection.recv(1 << 16), b"")).decode(errors="replace")

    def follow(self, path: str) -> socket.socket:
        """A connection on which the events of a page arrive."""
        connection = self._asked(f"/events?target={quote(path, safe='')}")
        connection.setblocking(False)
        return connection

    def _asked(self, path: str) -> socket.socket:
        host = urlsplit(self.url).netloc
        name, _, port = host.partition(":")
        connection = socket.create_connection((name, int(port)), timeout=60)
        head = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {self.token}\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode())
        return connection

    def cpu(self) -> float:
        times = self.process.cpu_times()
        return float(times.user + times.system)


@dataclass
class Readers:
    """Open pages: a thread reads their events, and notes when each part arrived."""

    connections: Sequence[socket.socket]
    parts: list[tuple[float, bytes]] = field(default_factory=list)
    _ended: threading.Event = field(default_factory=threading.Event)

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        thread = threading.Thread(target=self._read, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()
            for each in self.connections:
                each.close()

    def _read(self) -> None:
        while not self._ended.wait(0.02):
            for each in self.connections:
                with contextlib.suppress(BlockingIOError):
                    if part := each.recv(1 << 20):
                        self.parts.append((time.time(), part))


@contextlib.contextmanager
def console(home: Path) -> Iterator[Console]:
    command = [sys.executable, "-m", "breedclf", "console", "--json", "--no-browser", "--home", str(home)]
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = []
    while not lines or not lines[-1].startswith("}"):
        lines.append(process.stdout.readline())
        assert lines[-1], "the console ended"
    seconds = time.perf_counter() - started
    url, _, token = str(json.loads("".join(lines))["url"]).partition("/?token=")
    try:
        yield Console(url, token, psutil.Process(process.pid), seconds)
    finally:
        process.terminate()
        process.wait(30)


def write_jobs(home: Path) -> None:
    """Ended jobs with a hundred epochs each."""
    for number in range(JOBS):
        created = time.time() - 3600 - number
        folder = create_job_folder(home, JobSpec(f"job-{number:03d}"), backend="local", options={}, now=created)
        for epoch in range(100):
            folder.add_event("metrics", created + epoch, values={"epoch": epoch, "train_loss": 1 / (1 + epoch)})
        folder.log_file.write_text("".join(f"epoch {epoch}\n" for epoch in range(100)), encoding="utf-8")
        state = folder.read()
        description = state.description.entered(
            SecondaryStatus.COMPLETED, created + 100, status=JobStatus.COMPLETED, started=created, ended=created + 100
        )
        folder.write(replace(state, description=description))


def first_paint(running: Console, repeats: int) -> list[float]:
    """Seconds from the request to the first paint of the list of jobs, in Chromium."""
    from tests.browser import browser, find_chromium

    program = find_chromium()
    if program is None:
        return []
    with browser(program) as page:
        found = []
        page.open(f"{running.url}/jobs?token={running.token}")
        for _ in range(repeats):
            page.open("about:blank")
            page.open(f"{running.url}/jobs")
            page.until("performance.getEntriesByName('first-contentful-paint').length > 0")
            milliseconds = page.run("performance.getEntriesByName('first-contentful-paint')[0].startTime")
            found.append(milliseconds / 1000)
        return found


def watched(running: Console, paths: Sequence[str]) -> dict[str, float]:
    """Share of a core and memory of the server, and bytes sent, while these pages are open."""
    for path in dict.fromkeys(paths):
        running.get(path)
    readers = Readers([running.follow(path) for path in paths])
    with readers.reading():
        time.sleep(PAUSE_SECONDS)
        before, started, sent = running.cpu(), time.monotonic(), len(readers.parts)
        time.sleep(WATCHED_SECONDS)
        share = (running.cpu() - before) / (time.monotonic() - started)
        memory = running.process.memory_info().rss / 1e6
    return {"share": share, "megabytes": memory, "bytes": sum(len(part) for _, part in readers.parts[sent:])}


def delays(running: Console, home: Path, name: str, others: int) -> list[float]:
    """Seconds from the time of each epoch in the job's events to its arrival in a page, with other pages open."""
    paths = [f"/jobs/{name}"]
    readers = Readers([running.follow(path) for path in paths])
    beside = Readers([running.follow(f"/jobs/job-{number:03d}") for number in range(others)])
    with readers.reading(), beside.reading():
        time.sleep(PAUSE_SECONDS)
        started = time.time()
        time.sleep(WATCHED_SECONDS)
    events = [event for event in read_json_lines(home / "jobs" / name / "events.jsonl") if event["kind"] == "metrics"]
    arrivals = [at for at, part in readers.parts if b"event: fragments" in part]
    found = []
    for event in events:
        if started < event["time"] < started + WATCHED_SECONDS - 3:
            found.append(min(at for at in arrivals if at >= event["time"]) - event["time"])
    return found


def costs(backend: LocalBackend, source: Path, home: Path, repeats: int) -> dict[str, dict[str, list[float]]]:
    """CPU and wall seconds of a job, alone and with a console and its page open, in turns."""
    found: dict[str, dict[str, list[float]]] = {name: {"cpu": [], "wall": []} for name in ("alone", "shown")}
    with console(home) as running:
        for repeat in range(repeats):
            for shown in (False, True) if repeat % 2 else (True, False):
                name = f"work-{repeat}-{'shown' if shown else 'alone'}"
                backend.submit(JobSpec(name, source=source))
                readers = Readers([running.follow(f"/jobs/{name}"), running.follow("/jobs")] if shown else [])
                with readers.reading():
                    job = Job(name, backend).wait(timeout=600)
                seconds = json.loads(list(job.logs())[-1])
                for kind, values in found["shown" if shown else "alone"].items():
                    values.append(seconds[kind])
    return found


def main() -> int:
    given = arguments(__doc__, repeats=5, needs_data=False)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        backend = LocalBackend(home, gpus=())
        write_jobs(home)
        backend.submit(JobSpec("running", source=script_source(Path(folder) / "epochs", EPOCHS)))
        try:
            with console(home) as running:
                started = running.seconds_to_start
                imported = torch_is_loaded(running)
                idle = running.process.memory_info().rss / 1e6
                paint = first_paint(running, given.repeats)
                one = watched(running, ["/jobs/running"] * PAGES)
                mixed = watched(running, ["/jobs", "/jobs/running", *(f"/jobs/job-{n:03d}" for n in range(PAGES - 2))])
                seen = delays(running, home, "running", others=PAGES - 1)
        finally:
            backend.stop("running")
        cost = costs(backend, script_source(Path(folder) / "work", WORK), home, given.repeats)
    ratio = {kind: ratios(cost["shown"][kind], cost["alone"][kind]) for kind in ("cpu", "wall")}
    goals = [
        at_most(f"{PAGES} tabs on one page: share of a core", one["share"], 0.05),
        at_most(f"{PAGES} tabs on {PAGES} pages: share of a core", mixed["share"], 0.05),
        at_most(f"{PAGES} tabs: megabytes of memory", max(one["megabytes"], mixed["megabytes"]), 150),
        at_most(f"seconds until an epoch is seen, median with {PAGES} tabs", statistics.median(seen), 1),
        at_most(f"seconds until an epoch is seen, longest with {PAGES} tabs", max(seen), 1),
        at_most("CPU seconds of a job that is shown over one alone, median", ratio["cpu"]["median"], 1.01),
        at_most("modules of torch in the console's process", float(imported), 0),
    ]
    if paint:
        goals.insert(0, at_most(f"seconds to first paint with {JOBS} jobs, median", statistics.median(paint), 0.3))
    details: dict[str, Any] = {
        "first_paint": paint,
        "one_page": one,
        "mixed_pages": mixed,
        "epoch_seen": seen,
        "start_seconds": started,
        "idle_megabytes": idle,
        "cost": cost,
        "cost_ratios": ratio,
    }
    return report("console", goals, details, given)


def torch_is_loaded(running: Console) -> bool:
    """Whether the console's process has mapped torch's libraries."""
    maps = Path(f"/proc/{running.process.pid}/maps")
    return maps.is_file() and "libtorch" in maps.read_text(encoding="utf-8")


if __name__ == "__main__":
    os.environ.setdefault("BREEDCLF_HOME", tempfile.gettempdir())
    sys.exit(main())
