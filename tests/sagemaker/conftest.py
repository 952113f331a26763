"""A running emulator for the whole session, AWS's variables that lead there, and a bucket for each test."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from breedclf.backends.emulator.server import Emulator
from breedclf.backends.emulator.server import emulator as running_emulator
from breedclf.backends.local.backend import LocalBackend

ROLE = "arn:aws:iam::123456789012:role/breedclf"


@pytest.fixture(scope="session")
def emulator_session(
    container_python: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Emulator]:
    """The emulator; images are played by an interpreter without breedclf."""
    home = tmp_path_factory.mktemp("emulated")
    local = LocalBackend(home, cores=2, gpus=(), stop_grace_seconds=2, python=container_python[0])
    with running_emulator(local) as running:
        yield running


@pytest.fixture
def emulator(emulator_session: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """The emulator with all switches off, and AWS's variables leading there, for subprocesses too."""
    for name, value in emulator_session.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    emulator_session.plane.faults.clear()
    yield emulator_session
    emulator_session.plane.faults.clear()


@pytest.fixture
def client(emulator: Emulator) -> Any:
    """boto3's clients at the emulator, by service."""

    def client(service: str, **arguments: Any) -> Any:
        return boto3.client(service, endpoint_url=emulator.url, region_name="us-east-1", **arguments)

    return client


@pytest.fixture
def bucket(client: Any) -> str:
    """An empty bucket."""
    name = f"test-{secrets.token_hex(6)}"
    client("s3").create_bucket(Bucket=name)
    return name
