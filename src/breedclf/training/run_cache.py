"""What consecutive training runs in one process share: pretrained weights, and digests of images."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from pathlib import Path

from breedclf.config import TrainingConfig
from breedclf.data.labeled_images import SourceImages
from breedclf.data.split import ChosenImages, ImageFiles, SplitImages
from breedclf.features.digests import ContentDigests, digests_of
from breedclf.files.file_stat import FileStat
from breedclf.files.known_files import KnownFiles
from breedclf.files.model_folder import CARD_FILE, WEIGHTS_FILE
from breedclf.models.weights import PretrainedWeights, load_pretrained
from breedclf.training.start_model import start_weights

log: logging.Logger = logging.getLogger(__name__)


MOST_BYTES = 1 << 30


class RunCache:
    """Keeps the pretrained weights that were used last, about 100 MB for a ResNet-50, as long as it exists itself.

    Those of several networks are kept up to `most_bytes` together, for searches that alternate between them.
    """

    def __init__(self, *, most_bytes: int = MOST_BYTES) -> None:
        self._given: list[tuple[SplitImages, ContentDigests]] = []
        self._most_bytes = most_bytes
        self._pretrained: dict[tuple[object, ...], PretrainedWeights] = {}

    def pretrained(self, config: TrainingConfig) -> PretrainedWeights:
        """The pretrained weights of a run, which must not be changed.

        Raises:
            WeightsError: the weights can't be downloaded or read, aren't safe to load, or don't fit the architecture.
            ArtifactError: the model of `start_from` can't be read, or is damaged.
        """
        start = config.start_from
        version: object = config.seed if config.weights == "none" else FileStat.at(Path(config.weights))
        if start is not None:
            version = (start, FileStat.at(start / WEIGHTS_FILE), FileStat.at(start / CARD_FILE))
        key = (config.architecture, config.weights, config.accept_license, version)
        found = self._pretrained.pop(key, None)
        if found is None:
            found = (
                load_pretrained(
                    config.architecture, config.weights, seed=config.seed, accept_license=config.accept_license
                )
                if start is None
                else start_weights(start)
            )
        self._pretrained[key] = found
        self._forget()
        preprocessing = found.preprocessing.model_copy(update={"dct_scaling": config.dct_scaling})
        return replace(found, preprocessing=preprocessing)

    def _forget(self) -> None:
        """Drop the weights that weren't used for the longest time, but never the last ones."""
        while len(self._pretrained) > 1 and sum(map(_size, self._pretrained.values())) > self._most_bytes:
            del self._pretrained[next(iter(self._pretrained))]

    def digests(self, images: SplitImages, known: KnownFiles | None = None) -> ContentDigests:
        """The digests of these images; files that are known and haven't changed aren't read.

        Images that a program gave are read once: they stay the same while they are in use.
        """
        if isinstance(images, ImageFiles):
            return digests_of(images, known)
        found = next((found for given, found in self._given if is_same(given, images)), None)
        if found is None:
            started = time.perf_counter()
            found = digests_of(images, known)
            self._given.append((images, found))
            log.info("the digests of %d images took %.1f s", len(images), time.perf_counter() - started)
        return found


def is_same(one: SplitImages, other: SplitImages) -> bool:
    """Whether these are the same images of the same source, which aren't read for that."""
    if isinstance(one, ChosenImages) and isinstance(other, ChosenImages):
        return one.indices == other.indices and is_same(one.images, other.images)
    if isinstance(one, SourceImages) and isinstance(other, SourceImages):
        return one.source is other.source
    return one is other


def _size(pretrained: PretrainedWeights) -> int:
    return sum(tensor.nbytes for tensor in pretrained.state.values())
