"""What trainings that follow each other in one process share, so that each needn't fetch it anew."""

from __future__ import annotations

from pathlib import Path

from breedclf.config import TrainingConfig
from breedclf.learning.model import StateDict
from breedclf.learning.weights import backbone_state, fingerprint


class Workbench:
    """Keeps the pretrained weights that were used last, some 100 MB for a ResNet-50, until it goes away itself."""

    def __init__(self) -> None:
        self._asked: tuple[object, ...] = ()
        self._weights: tuple[StateDict, str] | None = None

    def weights(self, config: TrainingConfig) -> tuple[StateDict, str]:
        """The backbone's state dict, which is not to be changed, and its fingerprint.

        Raises:
            WeightsError: the weights can't be had, aren't safe to load, or don't fit the architecture.
        """
        asked = (config.architecture, config.weights, *_version_of(config))
        if self._weights is None or asked != self._asked:
            state = backbone_state(config.architecture, config.weights, seed=config.seed)
            self._asked, self._weights = asked, (state, fingerprint(state))
        return self._weights


def _version_of(config: TrainingConfig) -> tuple[object, ...]:
    """What tells weights of one name apart: the seed of drawn ones, the age and size of a file."""
    if config.weights == "none":
        return (config.seed,)
    try:
        status = Path(config.weights).stat()
    except OSError:
        return ()
    return (status.st_mtime_ns, status.st_size, status.st_ino)
