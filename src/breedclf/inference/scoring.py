"""The scores of many images by a model whose features are stored: only the head is computed for these."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
import torch.nn.functional as F

from breedclf.data.split import ChosenImages, SplitImages
from breedclf.features.image_features import Backbone, FeaturePass
from breedclf.features.stored_pass import FeatureCounts
from breedclf.features.values import Features
from breedclf.inference.model_directory import (
    ModelCard,
    backbone_fingerprint_of,
    backbone_of,
    check_values,
    read_unproven,
)
from breedclf.models.network import StateDict, frozen_backbone
from breedclf.models.weights import HEAD_PREFIX
from breedclf.runtime.device import Compute

IMAGES_AT_A_TIME = 16_384
"""Images whose features are in memory at once; 134 MB with 2,048 features in float32."""


@dataclass(frozen=True)
class ModelParts:
    """A model directory: its head, weight [C, D] and bias [C], and the backbone, which is built when it is needed."""

    card: ModelCard
    head: StateDict
    backbone: Backbone

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the head; the backbone's weights are checked when it is built.

        Raises:
            ArtifactError: as `read_artifact`; for NaN or infinite weights of the backbone, `build` raises it.
        """
        card, state = read_unproven(folder)
        head = {name.removeprefix(HEAD_PREFIX): state[name] for name in state.keys() - backbone_of(state).keys()}
        check_values({HEAD_PREFIX + name: tensor for name, tensor in head.items()}, folder)

        def build(compute: Compute) -> torch.nn.Module:
            check_values(state, folder)
            return frozen_backbone(card.architecture, backbone_of(state), compute)

        return cls(card, head, Backbone(backbone_fingerprint_of(folder, state), card.preprocessing, build))

    @property
    def trained_chunk_size(self) -> int | None:
        """The images per forward pass of the run that trained the model, if it is known."""
        found = self.card.training.get("chunk_size")
        return found if isinstance(found, int) and found > 0 else None


@dataclass(frozen=True)
class Scoring:
    """How images are scored: the head of a model on features that are found or computed."""

    model: ModelParts
    features: FeaturePass

    def scores(self, images: SplitImages, title: str) -> tuple[Features, FeatureCounts]:
        """The scores [N, C] of the readable images, in the network's dtype, in place of features.

        They are those of the whole network to the bit. `title` names the progress bar.

        Raises:
            ImageError: an image can't be read, with the `stop_at_bad` of the pass.
            ArtifactError: the backbone's weights contain NaN or infinite values, if images must pass through it.
        """
        scores, kept, bad, counts = list[torch.Tensor](), list[torch.Tensor](), dict[int, str](), FeatureCounts()
        for part in _parts(len(images)):
            some = images if len(part) == len(images) else ChosenImages(images, part)
            features, used = self.features.features(some, title)
            scores.append(self._of_features(features.values))
            kept.append(features.kept + part.start)
            bad |= {part.start + position: reason for position, reason in features.bad.items()}
            counts += used
        return Features(torch.cat(scores), torch.cat(kept), bad), counts

    @torch.inference_mode()
    def _of_features(self, features: torch.Tensor) -> torch.Tensor:
        """The head's scores [N, C] of features [N, D], in chunks of one shape like those of the backbone."""
        compute, chunk_size = self.features.compute, self.features.chunk_size
        device, dtype = compute.device, compute.dtype
        weight, bias = (self.model.head[name].to(device, dtype) for name in ("weight", "bias"))
        scores = torch.empty(len(features), len(bias), dtype=dtype)
        for rows in torch.split(torch.arange(len(features)), chunk_size) if len(features) else ():
            chunk = F.pad(features[rows], (0, 0, 0, chunk_size - len(rows)))
            scores[rows] = F.linear(chunk.to(device), weight, bias)[: len(rows)].cpu()
        return scores


def _parts(count: int) -> Iterator[range]:
    for start in range(0, max(1, count), IMAGES_AT_A_TIME):
        yield range(start, min(start + IMAGES_AT_A_TIME, count))
