"""Resuming a run: which checkpoint it continues from, and which settings must be unchanged."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from breedclf._version import __version__
from breedclf.config import TrainingConfig
from breedclf.config.base import Decides, fields_that_decide
from breedclf.errors import ConfigError, DataError
from breedclf.runtime.device import Compute
from breedclf.training.checkpoint import Checkpoint, CheckpointFolder
from breedclf.training.interruption import TrainingInterrupted
from breedclf.training.lr_schedule import LearningRateSchedule

log = logging.getLogger(__name__)

CHECKPOINT_FOLDER = "checkpoints"
# Images and weights are compared by their contents; more patience only trains longer.
_COMPARED = fields_that_decide(TrainingConfig, Decides.LEARNING, Decides.LENGTH, Decides.CHOICE) - {"patience"}


@dataclass
class CheckpointPolicy:
    """Where a run saves its state, and the checkpoint that it resumes from.

    `about` is stored in every checkpoint, and compared when a later run resumes from it.
    """

    folder: CheckpointFolder | None = None
    start: Checkpoint | None = None
    about: dict[str, Any] = field(default_factory=dict)
    _has_saved: bool = False

    @property
    def is_on(self) -> bool:
        return self.folder is not None

    def save(self, epochs: int, step: int, tensors: Mapping[str, torch.Tensor], about: Mapping[str, Any]) -> None:
        """Save one checkpoint; the first one of a new run replaces those of earlier runs."""
        assert self.folder is not None
        if not self._has_saved and self.start is None:
            self.folder.clear()
        self._has_saved = True
        self.folder.save(Checkpoint(epochs, step, tensors, {**self.about, **about}))

    def interrupted(self, epoch: int, epochs: int) -> TrainingInterrupted:
        """The exception that ends an interrupted run."""
        assert self.folder is not None
        return TrainingInterrupted(
            f"the training was interrupted in epoch {epoch} of {epochs}; its state is saved in {self.folder.path}. "
            "To continue, repeat the command with --resume (from Python: resume=True)"
        )


NO_CHECKPOINTS = CheckpointPolicy()


def find_checkpoint(config: TrainingConfig, folder: CheckpointFolder) -> Checkpoint | None:
    """The checkpoint to resume from; None if the settings don't ask for one, or there is none.

    Raises:
        ConfigError: it was made with other settings; the message names them.
    """
    if not config.resume:
        if config.checkpoints and folder.files():
            log.warning(
                "%s contains checkpoints of an earlier run, which is restarted (--resume continues it instead); "
                "they are replaced at the end of the first epoch",
                folder.path,
            )
        return None
    found = folder.load()
    if found is None:
        log.info("no checkpoint in %s yet: training starts with the first epoch", folder.path)
        return None
    if differences := differing(found.about["config"], config, found.about["choices"]):
        changes = "; ".join(f"{name} was {then}, is {now}" for name, (then, now) in differences.items())
        raise ConfigError(
            f"the checkpoint in {folder.path} was made with other settings: {changes}. Use the same ones, "
            "or restart without --resume, preferably with another --output"
        )
    log.info("resuming after epoch %d and %d steps, from %s", found.epochs, found.step, folder.path)
    return found


def differing(
    then: Mapping[str, Any], config: TrainingConfig, choices: Mapping[str, Any] | None = None
) -> dict[str, tuple[Any, Any]]:
    """The settings that affect the result and have changed: name to the values then and now.

    A setting that the checkpoint lacks was added later and counts as its default. More epochs are no difference if the
    learning rate is constant, nor is the precision that `auto` resolved to then.
    """
    now = config.model_dump(mode="json")
    default = {name: TrainingConfig.model_fields[name].default for name in _COMPARED - then.keys()}
    before = {**default, **then}
    found = {name: (before[name], now[name]) for name in sorted(_COMPARED) if before[name] != now[name]}
    if "epochs" in found and LearningRateSchedule.of(config).is_flat:
        epochs_then, epochs_now = found["epochs"]
        if epochs_now > epochs_then:
            del found["epochs"]
    if "precision" in found and choices is not None:
        used = choices["precision"]
        if {*found["precision"]} <= {"auto", used}:
            del found["precision"]
    return found


def check_same_inputs(start: Checkpoint | None, about: Mapping[str, Any]) -> None:
    """Compare images and weights with those of the checkpoint.

    Raises:
        DataError: they differ.
    """
    if start is None:
        return
    for name, words in (("data_fingerprint", "the images"), ("weights_fingerprint", "the pretrained weights")):
        if start.about[name] != about[name]:
            raise DataError(
                f"{words} have changed since the checkpoint was made ({name} was {start.about[name][:12]}, "
                f"is {about[name][:12]}); restore them, or restart without --resume"
            )


def with_same_choices(compute: Compute, config: TrainingConfig, start: Checkpoint | None) -> Compute:
    """Device and precision of a resumed run: `auto` precision stays what it was when the checkpoint was made."""
    if start is None:
        return compute
    if (before := start.about["choices"].get("device", compute.device.type)) != compute.device.type:
        log.info(
            "the checkpoint was made on %s; on %s the result is the same up to rounding", before, compute.device.type
        )
    if config.precision != "auto":
        return compute
    return replace(compute, precision=start.about["choices"]["precision"])


def about_run(
    config: TrainingConfig, compute: Compute, data_fingerprint: str, weights_fingerprint: str
) -> dict[str, Any]:
    """The facts about a run that each of its checkpoints contains."""
    return {
        "config": config.model_dump(mode="json"),
        "data_fingerprint": data_fingerprint,
        "weights_fingerprint": weights_fingerprint,
        "choices": {"precision": compute.precision, "device": compute.device.type, "threads": torch.get_num_threads()},
        "breedclf_version": __version__,
        "torch_version": str(torch.__version__),
    }


def checkpoint_folder(output: Path, elsewhere: Path | None) -> CheckpointFolder:
    """The folder of an output's checkpoints; a job keeps them `elsewhere`, where they survive an interruption."""
    return CheckpointFolder(elsewhere or output / CHECKPOINT_FOLDER)
