"""`Trainer`: settings in, a trained and measured classifier out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from breedclf.config import TrainingConfig

if TYPE_CHECKING:
    from breedclf.learning.fit import FitResult
    from breedclf.learning.hooks import TrainingHook


class Trainer:
    """Fine-tunes a pretrained network on a folder of pictures.

    Args:
        config: every setting of the training.

    Example:
        >>> result = Trainer(TrainingConfig(data="dogImages")).fit()  # doctest: +SKIP
        >>> result.classifier.predict("dog.jpg").top(5)  # doctest: +SKIP
    """

    def __init__(self, config: TrainingConfig) -> None:
        self.config = config

    def fit(self, *, hooks: Sequence[TrainingHook] = ()) -> FitResult:
        """Train in this process; the artifact is written to `config.output`.

        Progress goes to the "breedclf" logger and, on a terminal, to a bar on stderr.

        Raises:
            ConfigError: a setting doesn't fit this machine, or the output can't be written.
            DataError: the pictures can't be used as they are.
            WeightsError: the pretrained weights can't be had, don't fit or aren't safe to load.
            TrainingError: the loss is no longer a number.
        """
        from breedclf.learning.fit import fit
        from breedclf.learning.progress import ProgressLog

        return fit(self.config, hooks=[ProgressLog(), *hooks])
