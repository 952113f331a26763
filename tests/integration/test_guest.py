"""Training inside other programs: in threads, beside an event loop, and with nothing of the process changed."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import logging
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from breedclf import Classifier, EpochRecord, Trainer, TrainingConfig, TrainingHook
from breedclf.errors import BreedclfError
from tests.integration.conftest import RESNET, write_patterns

MB = 1 << 20

Outcome = tuple[str, tuple[float, ...]]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_patterns(tmp_path_factory.mktemp("guest") / "images", counts={"train": 3, "valid": 1, "test": 1})


def config_of(images: Path, folder: Path, number: int) -> TrainingConfig:
    """One of many settings: seeds, with and without cached features, shared and own caches, deterministic or not."""
    settings: dict[str, Any] = {
        **RESNET,
        "data": images,
        "device": "cpu",
        "batch_size": 3,
        "epochs": 1 + number % 2,
        "seed": number % 5,
        "deterministic": number % 2 == 0,
        "feature_cache": number % 3 > 0,
        "head": "linear" if number % 11 == 5 else "standardized",
        "cache_dir": folder / (f"cache-{number}" if number % 3 == 2 else "cache"),
        "output": folder / f"output-{number}",
    }
    if number % 7 == 3:
        settings |= {"freeze": "layer4", "backbone_learning_rate": 1e-4, "precision": "fp32"}
    return TrainingConfig(**settings)


def fit(config: TrainingConfig, *hooks: TrainingHook) -> Outcome:
    result = Trainer(config).fit(hooks=hooks)
    weights = (result.artifact / "model.safetensors").read_bytes()
    return hashlib.sha256(weights).hexdigest(), tuple(record.valid_loss for record in result.history)


class Failing(TrainingHook):
    """Ends a run in its first epoch."""

    def __init__(self, error: type[BaseException]) -> None:
        self.error = error

    def on_epoch(self, record: EpochRecord) -> None:
        del record
        raise self.error


def process_state() -> Mapping[str, Any]:
    """Everything of this process that a library could change under its host."""
    loggers = [logging.getLogger(), logging.getLogger("breedclf")]
    wakeup = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(wakeup)
    with ThreadPoolExecutor(1) as pool:
        threads_of_others = pool.submit(torch.get_num_threads).result()
    return {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "numpy": [np.asarray(part).tobytes() for part in np.random.get_state()],
        "random": random.getstate(),
        "environment": dict(os.environ),
        "signals": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "wakeup": wakeup,
        "threads": (torch.get_num_threads(), torch.get_num_interop_threads(), threads_of_others),
        "deterministic": torch.get_deterministic_debug_mode(),
        "cudnn": (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic, torch.backends.cudnn.enabled),
        "arithmetic": (torch.get_float32_matmul_precision(), torch.get_default_dtype(), torch.is_grad_enabled()),
        "logging": [(log.level, list(log.handlers), log.propagate, log.disabled) for log in loggers],
        "warnings": list(warnings.filters),
        "folder": Path.cwd(),
        "modules": (list(sys.path), list(sys.argv), list(sys.meta_path)),
        "streams": (sys.stdout, sys.stderr, sys.excepthook, threading.excepthook),
        "limits": (sys.getrecursionlimit(), sys.getswitchinterval(), gc.isenabled(), gc.get_threshold()),
    }


@contextmanager
def nothing_changed() -> Iterator[None]:
    before = process_state()
    yield
    after = process_state()
    assert [name for name in before if before[name] != after[name]] == []


def compare(images: Path, folder: Path, *, fits: int, kinds: int) -> None:
    """Fits in 8 threads, some of which fail, give the bits of fits one after the other, and change nothing."""

    def in_thread(number: int) -> Outcome:
        with suppress(ZeroDivisionError):
            if number % 5 == 1:
                fit(config_of(images, folder / f"failing-{number}", number), Failing(ZeroDivisionError))
        return fit(config_of(images, folder / f"round-{number // kinds}", number % kinds))

    for kind in range(min(kinds, 4)):
        fit(config_of(images, folder / "first", kind))  # modules that are imported at the first use add warning filters
    with nothing_changed():
        serial = [fit(config_of(images, folder / "serial", kind)) for kind in range(kinds)]
        with ThreadPoolExecutor(8) as pool:
            threaded = list(pool.map(in_thread, range(fits)))
    assert [number for number in range(fits) if threaded[number] != serial[number % kinds]] == []
    assert len(set(serial)) > kinds // 10


def test_fits_in_threads_equal_serial_ones(images: Path, tmp_path: Path) -> None:
    compare(images, tmp_path, fits=12, kinds=3)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_forty_fits_in_threads_equal_serial_ones(images: Path, tmp_path: Path) -> None:
    compare(images, tmp_path, fits=40, kinds=40)


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt, SystemExit])
def test_a_fit_that_fails_leaves_no_traces(images: Path, tmp_path: Path, error: type[BaseException]) -> None:
    with nothing_changed(), pytest.raises(error):
        fit(config_of(images, tmp_path, 2), Failing(error))
    with nothing_changed(), pytest.raises(BreedclfError):
        Trainer(TrainingConfig(data=tmp_path / "missing", output=tmp_path / "out", deterministic=True)).fit()


def test_the_callers_random_numbers_are_theirs(images: Path, tmp_path: Path) -> None:
    """Two fits run in threads while this thread draws."""
    torch.manual_seed(5)
    expected = torch.rand(20_000)
    torch.manual_seed(5)
    drawn = []
    with ThreadPoolExecutor(2) as pool:
        fits = [pool.submit(fit, config_of(images, tmp_path, number)) for number in (0, 3)]
        while len(drawn) < 20_000 and not all(each.done() for each in fits):
            drawn.append(torch.rand(1))
        assert all(each.result() for each in fits)
    assert torch.equal(torch.cat(drawn), expected[: len(drawn)])


def test_in_threads_of_an_event_loop(images: Path, tmp_path: Path) -> None:
    expected = [fit(config_of(images, tmp_path / "serial", number)) for number in (1, 4)]

    async def both() -> list[Outcome]:
        calls = [asyncio.to_thread(fit, config_of(images, tmp_path / "loop", number)) for number in (1, 4)]
        return list(await asyncio.gather(*calls))

    with nothing_changed():
        assert asyncio.run(both()) == expected


def test_signal_handlers_of_an_event_loop_outlive_a_fit_in_its_thread(images: Path, tmp_path: Path) -> None:
    """The signal arrives during the fit, and the loop's handler is called once the loop runs again."""

    class Signaling(TrainingHook):
        def on_epoch(self, record: EpochRecord) -> None:
            del record
            os.kill(os.getpid(), signal.SIGTERM)

    async def blocking() -> tuple[Outcome, str]:
        received = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, received.set_result, "received")
        outcome = fit(config_of(images, tmp_path, 0), Signaling())
        return outcome, await asyncio.wait_for(received, 10)

    with nothing_changed():
        assert asyncio.run(blocking())[1] == "received"


def growth(repeat: Callable[[int], object], *, times: int) -> tuple[float, int, int]:
    """Megabytes, descriptors and threads that the last ten calls have more than ten early ones, each at the least.

    Single calls differ by one model's weights, which malloc keeps for the next or not.
    """
    process = psutil.Process()
    measured = []
    for number in range(times):
        repeat(number)
        measured.append((process.memory_info().rss / MB, process.num_fds(), process.num_threads()))
    early, late = ([min(values) for values in zip(*rows, strict=True)] for rows in (measured[5:15], measured[-10:]))
    megabytes, descriptors, threads = (after - before for after, before in zip(late, early, strict=True))
    return megabytes, int(descriptors), int(threads)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(sys.platform != "linux", reason="measured by Linux's resident memory")
def test_fifty_fits_in_one_process_leave_nothing_behind(images: Path, tmp_path: Path) -> None:
    megabytes, descriptors, threads = growth(lambda number: fit(config_of(images, tmp_path, number % 10)), times=50)
    assert megabytes < 60  # less than two models: malloc may keep the memory of one for the next
    assert descriptors <= 0
    assert threads <= 0


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="measured by Linux's resident memory")
def test_fifty_loaded_models_leave_nothing_behind(images: Path, tmp_path: Path) -> None:
    fit(config_of(images, tmp_path, 0))
    image, model = next(images.glob("test/*/*")), tmp_path / "output-0" / "model"
    megabytes, descriptors, threads = growth(lambda _: Classifier(model).predict(image), times=50)
    assert megabytes < 30
    assert descriptors <= 0
    assert threads <= 0
