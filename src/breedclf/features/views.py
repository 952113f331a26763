"""Which view of the images each epoch trains on: the plain crop (0), its mirror image (-1), or a random crop."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from breedclf.config import TrainingConfig
from breedclf.data.preprocessing import MIRROR_VIEW


@dataclass(frozen=True)
class ViewSchedule:
    """The view of each epoch.

    With `plain`, epochs cycle through the views 0 to `views` - 1, and with `mirrored` also through the mirror image of
    view 0, which follows it. Otherwise they cycle through the random views 1 to `views`, or see a new one in each epoch
    where `views` is 1.
    """

    epochs: int
    views: int
    plain: bool
    mirrored: bool = False

    @classmethod
    def of(cls, config: TrainingConfig) -> ViewSchedule:
        """The schedule of a training run; `augment="auto"` is plain for a head alone.

        Example:
            >>> ViewSchedule.of(TrainingConfig(data="x", freeze="layer4", epochs=3)).counts
            {1: 1, 2: 1, 3: 1}
        """
        plain = config.augment in ("none", "flip") or (config.augment == "auto" and config.freeze == "head")
        return cls(config.epochs, config.views, plain, mirrored=config.augment == "flip")

    def of_epoch(self, epoch: int) -> int:
        """The view of an epoch, counted from 1.

        Example:
            >>> [ViewSchedule(epochs=3, views=2, plain=True).of_epoch(epoch) for epoch in (1, 2, 3)]
            [0, 1, 0]
            >>> [ViewSchedule(epochs=3, views=1, plain=False).of_epoch(epoch) for epoch in (1, 2, 3)]
            [1, 2, 3]
            >>> [ViewSchedule(epochs=3, views=2, plain=True, mirrored=True).of_epoch(epoch) for epoch in (1, 2, 3)]
            [0, -1, 1]
        """
        if self.plain:
            mirrored = (MIRROR_VIEW,) if self.mirrored else ()
            cycle: tuple[int, ...] = (0, *mirrored, *range(1, self.views))
            return cycle[(epoch - 1) % len(cycle)]
        return (epoch - 1) % self.views + 1 if self.views > 1 else epoch

    @cached_property
    def counts(self) -> Mapping[int, int]:
        """How many epochs train on each view, in the order in which the views are first needed."""
        return dict(Counter(self.of_epoch(epoch) for epoch in range(1, self.epochs + 1)))
