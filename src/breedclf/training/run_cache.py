"""What trainings that follow each other in one process share, so that each needn't fetch it anew."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from breedclf.config import TrainingConfig
from breedclf.features.extraction import fingerprint_of
from breedclf.files.file_stat import FileStat
from breedclf.models.network import StateDict
from breedclf.models.weights import backbone_state, fingerprint


class RunCache:
    """Keeps the pretrained weights that were used last, some 100 MB for a ResNet-50, until it goes away itself.

    Of pictures it keeps the fingerprints, which else each training would read all files for.
    """

    def __init__(self) -> None:
        self._fingerprints: dict[tuple[Path, ...], tuple[list[FileStat | None], str]] = {}
        self._asked: tuple[object, ...] = ()
        self._weights: tuple[StateDict, str] | None = None

    def weights(self, config: TrainingConfig) -> tuple[StateDict, str]:
        """The backbone's state dict, which is not to be changed, and its fingerprint.

        Raises:
            WeightsError: the weights can't be had, aren't safe to load, or don't fit the architecture.
        """
        version = config.seed if config.weights == "none" else _file_stat(Path(config.weights))
        asked = (config.architecture, config.weights, version)
        if self._weights is None or asked != self._asked:
            state = backbone_state(config.architecture, config.weights, seed=config.seed)
            self._asked, self._weights = asked, (state, fingerprint(state))
        return self._weights

    def fingerprint(self, paths: Sequence[Path]) -> str:
        """That of these pictures, taken anew when one of the files changes."""
        stamps = [_file_stat(path) for path in paths]
        known = self._fingerprints.get(tuple(paths))
        if known is None or known[0] != stamps:
            known = self._fingerprints[tuple(paths)] = (stamps, fingerprint_of(paths))
        return known[1]


def _file_stat(file: Path) -> FileStat | None:
    """That of a file; None where there is none to be seen."""
    try:
        return FileStat.of(file.stat())
    except OSError:
        return None
