"""Resuming a run: the checkpoint that it continues from, and the settings that must be unchanged."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from breedclf.config import TrainingConfig
from breedclf.config.aliases import renamed_settings
from breedclf.config.base import Decides, fields_that_decide
from breedclf.errors import ConfigError
from breedclf.files.unknown_keys import warn_of_unknown_keys
from breedclf.runtime.device import Compute
from breedclf.training.checkpoints.checkpoint import Checkpoint, CheckpointFolder
from breedclf.training.lr_schedule import LearningRateSchedule

log: logging.Logger = logging.getLogger(__name__)

CHECKPOINT_FOLDER = "checkpoints"
# Images and weights are compared by their contents; more patience only trains longer.
_COMPARED = fields_that_decide(TrainingConfig, Decides.LEARNING, Decides.LENGTH, Decides.CHOICE) - {"patience"}


def find_checkpoint(config: TrainingConfig, folder: CheckpointFolder) -> Checkpoint | None:
    """The checkpoint to resume from; None if the settings don't ask for one, or there is none.

    Raises:
        ConfigError: it was made with other settings, which the message names, or by a newer version.
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
    warn_of_unknown_keys(
        folder.path, renamed_settings(found.about["config"]).keys() - TrainingConfig.model_fields.keys()
    )
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
    renamed = renamed_settings(then)
    default = {name: TrainingConfig.model_fields[name].default for name in _COMPARED - renamed.keys()}
    before = {**default, **renamed}
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


def checkpoint_folder(output: Path, elsewhere: Path | None) -> CheckpointFolder:
    """The folder of an output's checkpoints; a job keeps them `elsewhere`, where they survive an interruption."""
    return CheckpointFolder(elsewhere or output / CHECKPOINT_FOLDER)
