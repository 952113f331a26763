"""Interpreters without breedclf, running emulators for the whole session, and a bucket for each test."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import psutil
import pytest
import urllib3
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from botocore.loaders import Loader, create_loader

from breedclf.backends.common.processes import MARK
from breedclf.backends.emulator.server import Emulator, emulator as running_emulator
from breedclf.backends.local.backend import LocalBackend
from breedclf.jobs import JobSpec
from breedclf.jobs.handle import Job
from breedclf.testing.backend_cases import script_source
from tests.backends.emulator.answers import checked_answers, checks_of
from tests.serving.conftest import model, other_model
from tests.waiting import PATIENCE_SECONDS


@pytest.fixture(scope="session", autouse=True)
def _models_of_services_read_once() -> Iterator[None]:
    """All sessions of boto3 share what they read of AWS's models, which takes longer than most tests of one call."""
    loaders: dict[Any, Loader] = {}

    def register(session: botocore.session.Session) -> None:
        def loader() -> Loader:
            path = session.get_config_variable("data_path")
            if path not in loaders:
                loaders[path] = create_loader(path)
            return loaders[path]

        session._components.lazy_register_component("data_loader", loader)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.session.Session, "_register_data_loader", register)
        yield


@pytest.fixture(scope="session")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter with our dependencies and without breedclf."""
    return without_breedclf(tmp_path_factory.mktemp("bare"))


def without_breedclf(folder: Path) -> Path:
    """A virtual environment with this one's packages, but without those installed in editable form."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True, timeout=120)
    python = folder / "bin" / "python"
    own = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout.strip()
    # A line of a .pth file adds a folder, but doesn't read the .pth files in it, which is what an editable install is.
    Path(own, "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    found = subprocess.run([python, "-c", "import breedclf"], capture_output=True, text=True, check=False, timeout=60)
    if found.returncode == 0:
        pytest.skip("breedclf is installed as a copy, so no interpreter here is without it; install it with -e")
    assert "No module named 'breedclf'" in found.stderr
    return python


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[LocalBackend]:
    """A backend with one core and a short grace period; jobs that still run after a test are stopped."""
    backend = LocalBackend(tmp_path / "home", cores=1, gpus=(), stop_grace_seconds=1)
    yield backend
    for description in backend.list_jobs():
        backend.stop(description.name)
    for description in backend.list_jobs():
        Job(description.name, backend).wait(timeout=PATIENCE_SECONDS, check=False)


@pytest.fixture
def submit(backend: LocalBackend, tmp_path: Path) -> Callable[..., Job]:
    def submit(script: str, name: str = "job", **spec: object) -> Job:
        source = script_source(tmp_path / f"source-{name}", script)
        backend.submit(JobSpec(name=name, source=source, **spec))  # type: ignore[arg-type]
        return Job(name, backend)

    return submit


def processes_of(home: Path) -> list[psutil.Process]:
    """Living processes of any job below the home folder, and their supervisors."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            marked = process.environ().get(MARK, "").startswith(str(home))
            if marked or any(word.startswith(f"{home}{os.sep}") for word in process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


__all__ = ["model", "other_model"]

REGION = "us-east-1"
Clients = Callable[..., Any]


@pytest.fixture(scope="session")
def emulator_session(
    container_python: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Emulator]:
    """An emulator whose images run with SageMaker's toolkits, if these can be installed, and without breedclf."""
    home = tmp_path_factory.mktemp("emulated")
    local = LocalBackend(home, cores=2, gpus=(), stop_grace_seconds=2, python=container_python[0])
    with running_emulator(local) as running, checked_answers(running):
        yield running


@pytest.fixture(scope="session")
def plain_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter without breedclf and without the toolkits, in which jobs start seconds sooner."""
    return without_breedclf(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="session")
def quick_session(plain_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """An emulator whose images run without the toolkits."""
    home = tmp_path_factory.mktemp("quick")
    local = LocalBackend(home, cores=2, gpus=(), stop_grace_seconds=2, python=plain_python)
    with running_emulator(local) as running, checked_answers(running):
        yield running


@pytest.fixture
def emulator(emulator_session: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """The emulator without switches, with AWS's variables set for it, also for subprocesses."""
    yield from _alone(emulator_session, monkeypatch)


@pytest.fixture
def quick(quick_session: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """The quick emulator without switches, with AWS's variables set for it."""
    yield from _alone(quick_session, monkeypatch)


@pytest.fixture
def client(emulator: Emulator) -> Clients:
    """boto3's clients at the emulator, by service."""
    return clients_at(emulator)


@pytest.fixture
def quick_client(quick: Emulator) -> Clients:
    """boto3's clients at the quick emulator."""
    return clients_at(quick)


@pytest.fixture
def bucket(client: Clients) -> str:
    """An empty bucket."""
    return new_bucket(client)


@pytest.fixture
def quick_bucket(quick_client: Clients) -> str:
    """An empty bucket of the quick emulator."""
    return new_bucket(quick_client)


def clients_at(emulator: Emulator) -> Clients:
    session = emulator.session()

    def client(service: str, **arguments: Any) -> Any:
        return session.client(service, endpoint_url=emulator.url, region_name=REGION, **arguments)

    return client


def new_bucket(client: Clients) -> str:
    name = f"test-{secrets.token_hex(6)}"
    client("s3").create_bucket(Bucket=name)
    return name


def switch(emulator: Emulator, what: str, **document: Any) -> None:
    """Set one of the emulator's switches over HTTP."""
    answer = asked(emulator, "POST", f"/_emulator/{what}", json.dumps(document).encode())
    assert answer.status == 200, answer.data


def asked(
    emulator: Emulator, method: str, path: str, body: bytes = b"", *, service: str = "emulator", **headers: str
) -> urllib3.BaseHTTPResponse:
    """The answer to a request signed with the emulator's keys; underscores in header names become dashes."""
    named = {"Content-Type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
    request = AWSRequest(method=method, url=f"{emulator.url}{path}", data=body, headers=named)
    credentials = ReadOnlyCredentials(emulator.credentials.access_key, emulator.credentials.secret_key, None)
    signer = S3SigV4Auth if service == "s3" else SigV4Auth
    signer(credentials, service, REGION).add_auth(request)
    return urllib3.request(method, request.url, body=body, headers=dict(request.headers.items()), retries=False)


def _alone(running: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    for name, value in running.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # it has the keys of another emulator
    running.plane.faults.clear()
    yield running
    running.plane.faults.clear()
    assert checks_of(running).taken() == []
