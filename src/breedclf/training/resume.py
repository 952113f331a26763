"""Going on where a training stopped: which checkpoints belong to it, and what must be the same as then."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from breedclf._version import __version__
from breedclf.config import TrainingConfig
from breedclf.config.aliases import renamed_settings
from breedclf.config.base import Decides, fields_that_decide
from breedclf.errors import ConfigError, DataError
from breedclf.runtime.device import Compute
from breedclf.training.checkpoint import Checkpoint, CheckpointFolder
from breedclf.training.interruption import TrainingInterrupted
from breedclf.training.lr_schedule import schedule_of

log: logging.Logger = logging.getLogger(__name__)

CHECKPOINT_FOLDER = "checkpoints"
# The pictures and the weights themselves are compared; more patience only goes on for longer.
_COMPARED = fields_that_decide(TrainingConfig, Decides.LEARNING, Decides.LENGTH, Decides.CHOICE) - {"patience"}


@dataclass
class CheckpointPolicy:
    """Where a training saves its state, and the checkpoint that it goes on from.

    `about` travels with every checkpoint: what a later run compares with its own.
    """

    folder: CheckpointFolder | None = None
    start: Checkpoint | None = None
    about: dict[str, Any] = field(default_factory=dict)
    _begun: bool = False

    @property
    def is_wanted(self) -> bool:
        return self.folder is not None

    def save(self, epochs: int, step: int, tensors: Mapping[str, torch.Tensor], about: Mapping[str, Any]) -> None:
        """Save one checkpoint; the first one of a training that began anew takes the place of those found there."""
        assert self.folder is not None
        if not self._begun and self.start is None:
            self.folder.clear()
        self._begun = True
        self.folder.save(Checkpoint(epochs, step, tensors, {**self.about, **about}))

    def interrupted(self, epoch: int, epochs: int) -> TrainingInterrupted:
        """What ends a training that was asked to."""
        assert self.folder is not None
        return TrainingInterrupted(
            f"the training was interrupted in epoch {epoch} of {epochs}; its state is in {self.folder.path}. "
            "To go on, repeat the command with --resume (from Python: resume=True)"
        )


NOT_SAVED = CheckpointPolicy()


def find_checkpoint(config: TrainingConfig, folder: CheckpointFolder) -> Checkpoint | None:
    """The checkpoint to go on from; None when none is wanted, or there is none.

    Raises:
        ConfigError: it was made with other settings; the message names them.
    """
    if not config.resume:
        if folder.files():
            log.warning(
                "%s holds checkpoints of a training that is now begun anew (--resume goes on instead); "
                "they are replaced at the end of the first epoch",
                folder.path,
            )
        return None
    found = folder.load()
    if found is None:
        log.info("no checkpoint in %s yet: the training begins with the first epoch", folder.path)
        return None
    if differences := differing(found.about["config"], config, found.about["choices"]):
        told = "; ".join(f"{name} was {then}, is {now}" for name, (then, now) in differences.items())
        raise ConfigError(
            f"the checkpoint in {folder.path} belongs to other settings: {told}. Give the same ones, "
            "or begin anew without --resume, best in another --output"
        )
    log.info("going on after epoch %d and %d steps, from %s", found.epochs, found.step, folder.path)
    return found


def differing(
    then: Mapping[str, Any], config: TrainingConfig, choices: Mapping[str, Any] | None = None
) -> dict[str, tuple[Any, Any]]:
    """The settings that decide the outcome and aren't what they were: name to the values then and now.

    A setting that the checkpoint lacks was added later, and had its default's effect then. More epochs than then are no
    difference while the step size is constant, nor is a precision that `auto` stood for then.
    """
    now = config.model_dump(mode="json")
    renamed = renamed_settings(then)
    default = {name: TrainingConfig.model_fields[name].default for name in _COMPARED - renamed.keys()}
    before = {**default, **renamed}
    found = {name: (before[name], now[name]) for name in sorted(_COMPARED) if before[name] != now[name]}
    if "epochs" in found and schedule_of(config) == "constant" and not config.warmup_epochs:
        epochs_then, epochs_now = found["epochs"]
        if epochs_now > epochs_then:
            del found["epochs"]
    if "precision" in found and choices is not None:
        used = choices["precision"]
        if {*found["precision"]} <= {"auto", used}:
            del found["precision"]
    return found


def check_same_inputs(start: Checkpoint | None, about: Mapping[str, Any]) -> None:
    """Compare the pictures and the weights with those that a checkpoint was made with.

    Raises:
        DataError: they differ.
    """
    if start is None:
        return
    for name, words in (("data_fingerprint", "the pictures"), ("weights_fingerprint", "the pretrained weights")):
        if start.about[name] != about[name]:
            raise DataError(
                f"{words} aren't those that the checkpoint was made with ({name} {start.about[name][:12]} then, "
                f"{about[name][:12]} now); restore them, or begin anew without --resume"
            )


def with_same_choices(compute: Compute, config: TrainingConfig, start: Checkpoint | None) -> Compute:
    """Where and how to compute, with what was chosen for the machine when the checkpoint was made."""
    if start is None:
        return compute
    if (before := start.about["choices"].get("device", compute.device.type)) != compute.device.type:
        log.info(
            "the checkpoint was made on %s; the same outcome to rounding follows on %s", before, compute.device.type
        )
    if config.precision != "auto":
        return compute
    return replace(compute, precision=start.about["choices"]["precision"])


def about_run(
    config: TrainingConfig, compute: Compute, data_fingerprint: str, weights_fingerprint: str
) -> dict[str, Any]:
    """What every checkpoint of a run says of it."""
    return {
        "config": config.model_dump(mode="json"),
        "data_fingerprint": data_fingerprint,
        "weights_fingerprint": weights_fingerprint,
        "choices": {"precision": compute.precision, "device": compute.device.type, "threads": torch.get_num_threads()},
        "breedclf_version": __version__,
        "torch_version": str(torch.__version__),
    }


def checkpoint_folder(output: Path, elsewhere: Path | None) -> CheckpointFolder:
    """Where the checkpoints of an output lie; a job keeps them where they outlive an interruption."""
    return CheckpointFolder(elsewhere or output / CHECKPOINT_FOLDER)
