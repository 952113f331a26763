"""The folder that gets what a command writes, made and tried before the work begins, and claimed by one training."""

from __future__ import annotations

import itertools
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from breedclf.config import TrainingConfig
from breedclf.data.layout.disk import mark_output
from breedclf.errors import ConfigError
from breedclf.inference.model_directory import CARD_FILE
from breedclf.training.distributed import Processes
from breedclf.training.resume import CHECKPOINT_FOLDER

MODEL_FOLDER = "model"
LOCK_FILE = ".training.lock"

log: logging.Logger = logging.getLogger(__name__)


def writable(folder: Path) -> Path:
    """Make the folder and try to write into it.

    Raises:
        ConfigError: it can't be written.
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
    """The same, and mark it as breedclf's if it holds nothing yet.

    Raises:
        ConfigError: it can't be written.
    """
    writable(folder)
    with suppress(OSError):
        mark_output(folder)
    return folder


@contextmanager
def claimed_output(config: TrainingConfig, processes: Processes) -> Iterator[Path]:
    """Within it the output folder belongs to this training; the default one gets a number when it is taken.

    Of several processes the first claims it for all.

    Raises:
        ConfigError: it can't be written, its model folder holds something else, or another training writes into it.
    """
    if not processes.is_first:
        told = processes.from_first(None)
        yield config.output if told is None else Path(os.fsdecode(told))
        return
    with _claimed(config) as output:
        processes.from_first(os.fsencode(output))
        yield output


@contextmanager
def _claimed(config: TrainingConfig) -> Iterator[Path]:
    named = "output" in config.model_fields_set
    chosen = named or config.resume
    for output in [config.output] if named else _default_outputs(config):
        lock = FileLock(own_output(output) / LOCK_FILE, timeout=0)
        try:
            lock.acquire()
        except Timeout:
            if chosen:
                raise ConfigError(
                    f"output={str(output)!r}: another training is writing there at this moment; wait for it, "
                    "or choose another --output"
                ) from None
            continue
        except (OSError, NotImplementedError) as error:
            log.warning("output=%s: its disk knows no locks (%s); see that nobody else trains there", output, error)
        try:
            _check_model_folder(output)
            yield output
        finally:
            lock.release()
        return


def _check_model_folder(output: Path) -> None:
    model = output / MODEL_FOLDER
    if model.exists() and not (model / CARD_FILE).is_file() and (not model.is_dir() or any(model.iterdir())):
        raise ConfigError(f"output={str(output)!r}: {model} holds something that is no breedclf model; choose another")


def _default_outputs(config: TrainingConfig) -> Iterator[Path]:
    """The default folder, or the first numbers under which no model lies; to resume, the last with checkpoints."""
    first = config.output
    numbered = itertools.chain([first], (first.with_name(f"{first.name}-{number}") for number in itertools.count(2)))
    if config.resume:
        there = list(itertools.takewhile(Path.exists, numbered))
        begun = [folder for folder in there if (folder / CHECKPOINT_FOLDER).is_dir()]
        yield begun[-1] if begun else first
        return
    yield from (folder for folder in numbered if not (folder / MODEL_FOLDER).exists())
