"""The output folder: created and tested before the work starts, and claimed by one training run."""

from __future__ import annotations

import itertools
import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from breedclf.config import TrainingConfig
from breedclf.data.layout.disk import mark_output
from breedclf.errors import ConfigError
from breedclf.files.model_folder import CARD_FILE, MODEL_FOLDER
from breedclf.training.checkpoints.resume import CHECKPOINT_FOLDER

LOCK_FILE = ".training.lock"

log: logging.Logger = logging.getLogger(__name__)


def writable(folder: Path) -> Path:
    """Create the folder and check that files can be written to it.

    Raises:
        ConfigError: they can't.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ConfigError(
            f"output={str(folder)!r} can't be written: {error.strerror}; choose another --output"
        ) from error
    return folder


def own_output(folder: Path) -> Path:
    """The same, and mark it as breedclf's output if it is empty.

    Raises:
        ConfigError: it can't be written.
    """
    writable(folder)
    with suppress(OSError):
        mark_output(folder)
    return folder


@contextmanager
def claimed_output(config: TrainingConfig) -> Iterator[Path]:
    """Within it the output folder belongs to this run; the default folder gets a number if it is taken.

    Raises:
        ConfigError: it can't be written, its model directory contains something else, or another run is writing to it.
    """
    explicit = "output" in config.model_fields_set
    for output in [config.output] if explicit else _default_outputs(config):
        _check_model_folder(writable(output))
        lock = FileLock(own_output(output) / LOCK_FILE, timeout=0)
        try:
            lock.acquire()
        except Timeout:
            if explicit or config.resume:
                raise ConfigError(
                    f"output={str(output)!r}: another training run is writing there; wait for it, "
                    "or choose another --output"
                ) from None
            continue
        except (OSError, NotImplementedError) as error:
            log.warning(
                "output=%s: its disk doesn't support locks (%s); make sure that no other run uses it", output, error
            )
        try:
            yield output
        finally:
            lock.release()
        return


def _check_model_folder(output: Path) -> None:
    model = output / MODEL_FOLDER
    if model.exists() and not (model / CARD_FILE).is_file() and (not model.is_dir() or any(model.iterdir())):
        raise ConfigError(
            f"output={str(output)!r}: {model} contains something that isn't a breedclf model; choose another"
        )


def _default_outputs(config: TrainingConfig) -> Iterator[Path]:
    """The default folder and its numbered siblings without a model; to resume, the last one with checkpoints."""
    first = config.output
    numbered = itertools.chain([first], (first.with_name(f"{first.name}-{number}") for number in itertools.count(2)))
    if config.resume:
        there = list(itertools.takewhile(Path.exists, numbered))
        resumable = [folder for folder in there if (folder / CHECKPOINT_FOLDER).is_dir()]
        yield resumable[-1] if resumable else first
        return
    yield from (folder for folder in numbered if not (folder / MODEL_FOLDER).exists())
