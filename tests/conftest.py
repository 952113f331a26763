"""Shared by all tests: real images and weights where they exist, and separate folders for caches and jobs."""

from __future__ import annotations

import gc
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from tests.browser import Browser, browser, find_chromium
from tests.toolkit import install_toolkit

# Workers that run side by side share the cores; torch reads this when it is loaded, and so do child processes.
if workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")):
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))

# What tests import stays until the end; looking for garbage in it would take a fifth of the time to collect tests.
gc.disable()

PROJECT_ROOT = Path(__file__).resolve().parent.parent
TEST_DATA_VARIABLE = "BREEDCLF_TEST_DATA"


def pytest_collection_finish() -> None:
    """From here on, garbage is looked for among the objects of tests only."""
    gc.collect()
    gc.freeze()
    gc.enable()


def photos_folder() -> Path:
    """Where real images and weights are expected."""
    chosen = os.environ.get(TEST_DATA_VARIABLE)
    return Path(chosen) if chosen else PROJECT_ROOT.parent / "shared" / "data"


@pytest.fixture(scope="session", autouse=True)
def _own_settings_and_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the shell's settings and the user's caches and jobs away from tests and their subprocesses."""
    with pytest.MonkeyPatch.context() as patch:
        for variable in list(os.environ):
            if variable.startswith("BREEDCLF_") and variable != TEST_DATA_VARIABLE:
                patch.delenv(variable)
        patch.setenv("BREEDCLF_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("BREEDCLF_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("HF_HOME", str(tmp_path_factory.mktemp("hugging-face")))  # read when `datasets` is imported
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield


@pytest.fixture(autouse=True)
def _own_logging() -> None:
    """Servers of other tests in this process may have changed where breedclf logs to, or libraries disabled it."""
    logging.disable(logging.NOTSET)
    logging.root.setLevel(logging.WARNING)
    logger = logging.getLogger("breedclf")
    logger.handlers, logger.propagate = [], True
    logger.setLevel(logging.NOTSET)
    for name, each in logging.root.manager.loggerDict.items():
        if name.split(".")[0] == "breedclf" and isinstance(each, logging.Logger):
            each.disabled = False


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A page in a headless browser; tests that need it are skipped where there is none."""
    program = find_chromium()
    if program is None:
        pytest.skip("no chromium on this machine")
    with browser(program) as started:
        yield started


@pytest.fixture(scope="session")
def project_root() -> Path:
    """The folder of pyproject.toml."""
    return PROJECT_ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images and weights; tests that need it are skipped where it is missing."""
    chosen = os.environ.get(TEST_DATA_VARIABLE)
    folder = photos_folder()
    if not (folder / "weights").is_dir():
        if chosen:
            pytest.fail(f"{TEST_DATA_VARIABLE}={chosen} holds no weights/ folder")
        pytest.skip(f"no photos at ../shared/data; set {TEST_DATA_VARIABLE} to a folder that has them")
    return folder


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the processes of one test run share."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def container_python(shared_folder: Path) -> tuple[Path, str]:
    """An interpreter without breedclf, with SageMaker's training toolkit; or why that couldn't be installed."""
    folder, outcome = shared_folder / "toolkit", shared_folder / "toolkit.json"
    with FileLock(shared_folder / "toolkit.lock"):
        if not outcome.is_file():
            made, problem = install_toolkit(folder)
            outcome.write_text(json.dumps([str(made), problem]), encoding="utf-8")
    python, problem = json.loads(outcome.read_text(encoding="utf-8"))
    return Path(python), problem


@pytest.fixture(scope="session")
def toolkit(container_python: tuple[Path, str]) -> Path:
    """The folder of programs of an environment with the toolkit, and without breedclf."""
    python, problem = container_python
    if problem:
        pytest.skip(f"SageMaker's training toolkit can't be installed: {problem}")
    return python.parent
