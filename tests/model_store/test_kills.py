"""A store under kill -9 and under several writers: real processes, killed at random moments."""

from __future__ import annotations

import contextlib
import multiprocessing
import random
import signal
import time
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest

from breedclf import ModelStore
from breedclf.api.endpoint import Endpoint
from breedclf.errors import BreedclfError
from breedclf.jobs.endpoints import EndpointSpec
from tests.fakes import FakeClock
from tests.model_store.stored import FileEndpoints, check_whole, write_model

MODELS = 6


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """Forks processes that have breedclf imported already, from a server that has no threads."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "breedclf.api.deployment"])
    return context


def endpoint_in(folder: Path) -> Endpoint:
    return Endpoint("dogs-live", FileEndpoints(folder), clock=FakeClock())


def change(path: Path, runs: Path, endpoints: Path, seed: int, ready: Connection) -> None:
    """Change the store in every way, until the process is killed."""
    chance, store = random.Random(seed), ModelStore(path, clock=FakeClock())
    ready.send(True)
    while True:
        versions = [each.version for each in store.record("dogs").versions] or [1]
        # What is refused, such as a rollback without a previous version, is fine.
        with contextlib.suppress(BreedclfError):
            match chance.randrange(8):
                case 0 | 1:
                    store.add(runs / str(chance.randrange(MODELS)), name="dogs")
                case 2 | 3:
                    store.promote("dogs", chance.choice(versions), endpoint=endpoint_in(endpoints))
                case 4:
                    store.rollback("dogs", endpoint=endpoint_in(endpoints))
                case 5:
                    store.remove("dogs", chance.choice(versions))
                case 6:
                    store.collect_garbage()
                case _:
                    store.alias("dogs", "best", chance.choice(versions))


def killed(processes: ForkServerContext, tmp_path: Path, kills: int, writers: int) -> None:
    path, runs, endpoints = tmp_path / "store", tmp_path / "runs", tmp_path / "endpoints"
    for number in range(MODELS):
        write_model(runs / str(number), bytes([number]) * 300_000)
    endpoints.mkdir()
    store = ModelStore(path, clock=FakeClock())
    store.add(runs / "0", name="dogs")
    FileEndpoints(endpoints).create_endpoint(EndpointSpec("dogs-live", runs / "0"))
    chance, interrupted, changes = random.Random(7), 0, 0
    for number in range(kills):
        started = []
        for writer in range(writers):
            here, there = processes.Pipe()
            seed = writers * number + writer
            process = processes.Process(target=change, args=(path, runs, endpoints, seed, there), daemon=True)
            process.start()
            assert here.recv()
            started.append(process)
        time.sleep(chance.uniform(0.0, 0.2))
        for process in started:
            process.kill()
            process.join()
            assert process.exitcode == -signal.SIGKILL, "it ended by itself"
        check_whole(path)
        record = store.record("dogs")
        interrupted += record.promoting is not None
        # What the endpoint serves is live, or the record says that this is being changed.
        served = FileEndpoints(endpoints).served("dogs-live")
        if record.live is not None and record.promoting is None:
            assert (store.model_directory("dogs") / "model.safetensors").read_bytes() == served
        changes = max(changes, len(record.history))
    newest = store.record("dogs").versions[-1]
    store.promote("dogs", newest.version, endpoint=endpoint_in(endpoints))
    assert store.record("dogs").promoting is None
    assert (store.model_directory("dogs") / "model.safetensors").read_bytes() == FileEndpoints(endpoints).served(
        "dogs-live"
    )
    store.collect_garbage()
    used = {version.digest for version in store.record("dogs").versions}
    assert {each.name for each in (path / "objects").iterdir()} == used, "nothing is left behind"
    assert [each.name for each in (path / "models").iterdir()] == ["dogs.json"]
    assert kills < 50 or interrupted > 0, "promotions are interrupted, too"
    assert kills < 50 or changes > kills / 10, "the processes change something before they are killed"


def test_kills(processes: ForkServerContext, tmp_path: Path) -> None:
    killed(processes, tmp_path, kills=10, writers=1)


@pytest.mark.slow
def test_two_hundred_kills(processes: ForkServerContext, tmp_path: Path) -> None:
    killed(processes, tmp_path, kills=200, writers=1)


@pytest.mark.slow
def test_kills_of_two_writers(processes: ForkServerContext, tmp_path: Path) -> None:
    killed(processes, tmp_path, kills=50, writers=2)


def add_all(path: Path, runs: Path, name: str) -> None:
    store = ModelStore(path)
    for folder in sorted(runs.iterdir()):
        store.promote(name, store.add(folder, name=name).version)


def test_writers_at_the_same_time(processes: ForkServerContext, tmp_path: Path) -> None:
    path, count = tmp_path / "store", 5
    for writer in range(3):
        for number in range(count):
            write_model(tmp_path / f"runs-{writer}" / str(number), bytes([writer, number]))
    started = [
        processes.Process(target=add_all, args=(path, tmp_path / f"runs-{writer}", "dogs")) for writer in range(3)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join()
        assert process.exitcode == 0
    check_whole(path)
    record = ModelStore(path).record("dogs")
    assert [version.version for version in record.versions] == list(range(1, 3 * count + 1))
    assert len([each for each in record.history if each.alias == "live"]) >= count
    assert ModelStore(path).collect_garbage() == []
