"""Where a run saves its checkpoints, and what each of them records about the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from breedclf._version import __version__
from breedclf.config import TrainingConfig
from breedclf.errors import ConfigError, DataError
from breedclf.models.weights import PretrainedWeights
from breedclf.runtime.device import Compute
from breedclf.training.checkpoints.checkpoint import Checkpoint, CheckpointFolder
from breedclf.training.interruption import TrainingInterrupted


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


def about_run(
    config: TrainingConfig,
    compute: Compute,
    data_fingerprint: str,
    pretrained: PretrainedWeights,
    own_code: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The facts about a run that each of its checkpoints contains; `own_code` are hashes of own code by its role."""
    about = {
        "config": config.model_dump(mode="json"),
        "data_fingerprint": data_fingerprint,
        "weights_fingerprint": pretrained.fingerprint,
        "start_fingerprint": "none" if pretrained.head is None else pretrained.head.model_sha256,
        "choices": {"precision": compute.precision, "device": compute.device.type, "threads": torch.get_num_threads()},
        "breedclf_version": __version__,
        "torch_version": str(torch.__version__),
    }
    return {**about, "own_code": dict(own_code)} if own_code else about


def check_same_inputs(start: Checkpoint | None, about: Mapping[str, Any]) -> None:
    """Compare images, weights and own code with those of the checkpoint.

    Raises:
        DataError: the images or the weights differ.
        ConfigError: the own code differs.
    """
    if start is None:
        return
    for name, words in (
        ("data_fingerprint", "the images have"),
        ("start_fingerprint", "the weights of the start_from model have"),
        ("weights_fingerprint", "the pretrained weights have"),
    ):
        before = start.about.get(name, "none")
        now = about.get(name, "none")
        if before != now:
            raise DataError(
                f"{words} changed since the checkpoint was made ({name} was {before[:12]}, "
                f"is {now[:12]}); restore them, or restart without --resume"
            )
    own_before, own_now = (facts.get("own_code", {}) for facts in (start.about, about))
    if changed := sorted(role for role in own_now if own_before.get(role) != own_now[role]):
        raise ConfigError(
            f"the code of your {' and '.join(changed)} has changed since the checkpoint was made; restore it, or "
            "restart without --resume"
        )
