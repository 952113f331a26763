"""A console that runs in this process, and stored jobs as a backend on this machine writes them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

from breedclf.backends.common.folder import JobFolder, JobState, create_job_folder
from breedclf.backends.registry import backend_named
from breedclf.console.app import Console
from breedclf.console.server import ConsoleServer
from breedclf.jobs import JobSpec, JobStatus, SecondaryStatus
from breedclf.overview.overview import Overview, places_of
from breedclf.serving.listening import listen, url_of

TOKEN = "a-token-of-some-length"


@dataclass(frozen=True)
class Running:
    """A running console: its address, and the address of a page with the token."""

    url: str
    console: Console

    def page(self, path: str) -> str:
        return f"{self.url}{path}{'&' if '?' in path else '?'}token={TOKEN}"

    def client(self) -> httpx2.Client:
        """A client that sends the token."""
        return httpx2.Client(base_url=self.url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=30)


@contextmanager
def running_console(folder: Path, *, read_only: bool = False) -> Iterator[Running]:
    """A console of the local backend in `folder`/home, with runs and models beside it."""
    with listen("127.0.0.1", 0) as listener:
        console = Console({"local": overview_in(folder)}, TOKEN, listener.getsockname()[1], read_only)
        server = ConsoleServer(console)
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        try:
            yield Running(url_of(listener), console)
        finally:
            server.should_exit = True
            thread.join(20)


def overview_in(folder: Path) -> Overview:
    """The overview of a local backend whose folders are all in `folder`."""
    backend = backend_named("local", home=folder / "home")
    return Overview(backend, places_of(backend, home=None, runs=folder / "runs", store=folder / "models"))


def add_job(
    folder: Path,
    name: str,
    *,
    status: JobStatus = JobStatus.COMPLETED,
    created: float = 1_800_000_000.0,
    log: str = "",
    epochs: int = 0,
) -> JobFolder:
    """Write a job that ended 60 seconds after it was created, with a metric line for each epoch."""
    home = folder / "home"
    found = create_job_folder(home, JobSpec(name=name), backend="local", options={}, now=created)
    for epoch in range(1, epochs + 1):
        found.add_event("metrics", created + epoch, values={"epoch": epoch, "train_loss": 1 / epoch})
    state = found.read()
    secondary = SecondaryStatus(status.value) if status.is_final else SecondaryStatus.TRAINING
    changes = {"started": created + 1, "ended": created + 60} if status.is_final else {"started": created + 1}
    description = state.description.entered(secondary, created + 60, status=status, **changes)
    found.write(JobState(state.spec, description, "local", {}))
    if log:
        found.log_file.write_text(log, encoding="utf-8")
    return found
