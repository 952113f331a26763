"""The scores of many images by a model whose features are stored: only the head is computed for these."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
import torch.nn.functional as F

from breedclf.config import Device, Precision
from breedclf.config.evaluation import FeatureReuse
from breedclf.data.images import as_path
from breedclf.data.preprocessing import MIRROR_VIEW
from breedclf.data.split import ChosenImages, ImageFiles, SplitImages
from breedclf.errors import ImageError
from breedclf.features.extraction import torch_engine
from breedclf.features.image_features import Backbone, FeatureCache, FeaturePass
from breedclf.features.stored_pass import FeatureCounts
from breedclf.features.values import Features
from breedclf.files.paths import user_path
from breedclf.inference.conformal import check_coverage
from breedclf.inference.feature_bank import FeatureBank
from breedclf.inference.model_directory import (
    ModelCard,
    backbone_fingerprint_of,
    check_values,
    read_bank,
    read_unproven,
)
from breedclf.inference.prediction import Prediction
from breedclf.inference.ranking import ranked_prediction
from breedclf.models.backbones.backbone import StateDict, find_backbone
from breedclf.models.network import for_inference
from breedclf.runtime.device import Compute, compute_for

_CHUNK_SIZE = 32
PLAIN, TTA = (0,), (0, MIRROR_VIEW)
VIEW_NAMES = {0: "plain", MIRROR_VIEW: "mirrored"}
IMAGES_AT_A_TIME = 16_384
"""Images whose features are in memory at once; 134 MB with 2,048 features in float32."""


@dataclass(frozen=True)
class ModelParts:
    """A model directory: its head, weight [C, D] and bias [C], and the backbone, which is built when it is needed.

    `bank` is its feature bank; None if it has none.
    """

    card: ModelCard
    head: StateDict
    backbone: Backbone
    bank: FeatureBank | None = None

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the head; the backbone's weights are checked when it is built.

        Raises:
            ArtifactError: as `read_artifact` and `read_bank`; for NaN or infinite weights of the backbone, `build`
                raises it.
        """
        card, state = read_unproven(folder)
        network = find_backbone(card.architecture)
        prefix = network.head_prefix
        head = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
        check_values({prefix + name: tensor for name, tensor in head.items()}, folder)

        def build(compute: Compute) -> torch.nn.Module:
            check_values(state, folder)
            return for_inference(network.headless(network.without_head(state)), compute)

        fingerprint = backbone_fingerprint_of(folder, network, state)
        engine = torch_engine(card.architecture)
        name = f"{card.architecture} {Path(str(card.training.get('weights', ''))).name}"
        bank = read_bank(folder, card, network.features)
        return cls(card, head, Backbone(fingerprint, card.preprocessing, build, name, engine), bank)


def chunk_size_of(card: ModelCard) -> int:
    """The images per forward pass of the run that trained a model."""
    found = card.training.get("chunk_size")
    return found if isinstance(found, int) and found > 0 else _CHUNK_SIZE


@dataclass(frozen=True)
class Scored(Features):
    """Scores or probabilities of images, [N, C], in place of features.

    `distances` are float32 [N], those to the model's feature bank; None without one. `by_view` are the scores of each
    view whose probabilities were averaged.
    """

    distances: torch.Tensor | None = None
    by_view: tuple[torch.Tensor, ...] = ()


def mean_probabilities(
    by_view: Sequence[torch.Tensor], dtype: torch.dtype = torch.float64, temperature: float = 1.0
) -> torch.Tensor:
    """The probabilities [N, C] by the scores of each view, divided by a temperature: the mean over the views."""
    return torch.stack([torch.softmax(scores.to(dtype) / temperature, dim=1) for scores in by_view]).mean(0)


@dataclass(frozen=True)
class Scoring:
    """How images are scored: the head of a model on features that are found or computed, in one or several views."""

    model: ModelParts
    features: FeaturePass
    views: tuple[int, ...] = PLAIN

    @classmethod
    def read(
        cls,
        folder: Path,
        reuse: FeatureReuse,
        *,
        tta: bool = False,
        device: Device = "auto",
        precision: Precision = "auto",
        chunk_size: int | None = None,
        workers: int | None = None,
        stop_at_bad: bool = False,
    ) -> Self:
        """Read a model directory to score images with it, by default as many per forward pass as in its training.

        With `tta`, probabilities are means over the plain crop and its mirror image.

        Raises:
            ArtifactError: as `read_artifact`.
            ConfigError: this machine doesn't have the requested device, or the caches' folder or size is invalid.
        """
        model, compute = ModelParts.read(folder), compute_for(device, precision)
        chunk_size = chunk_size or chunk_size_of(model.card)
        cache = FeatureCache.at(reuse)
        features = FeaturePass(model.backbone, compute, chunk_size, cache, workers, stop_at_bad)
        return cls(model, features, TTA if tta else PLAIN)

    def probabilities(
        self, images: SplitImages, title: str, dtype: torch.dtype = torch.float64
    ) -> tuple[Scored, FeatureCounts]:
        """The probabilities [N, C] of the readable images: the mean over the views. Distances are those of the first.

        Raises:
            ImageError: as `scores`.
            ArtifactError: as `scores`.
        """
        found = [self.scores(images, title, view) for view in self.views]
        bad = {position: reason for scores, _ in found for position, reason in scores.bad.items()}
        unreadable = torch.tensor(list(bad), dtype=torch.int64)
        readable = [~torch.isin(scores.kept, unreadable) for scores, _ in found]
        by_view = tuple(scores.values[rows] for (scores, _), rows in zip(found, readable, strict=True))
        first = found[0][0]
        distances = None if first.distances is None else first.distances[readable[0]]
        counts = sum((used for _, used in found), FeatureCounts())
        probabilities = mean_probabilities(by_view, dtype)
        return Scored(probabilities, first.kept[readable[0]], bad, distances, by_view), counts

    def scores(self, images: SplitImages, title: str, view: int = 0) -> tuple[Scored, FeatureCounts]:
        """The scores [N, C] of the readable images in a view, in the network's dtype, and their distances.

        They are those of the whole network to the bit. `title` names the progress bar.

        Raises:
            ImageError: an image can't be read, with the `stop_at_bad` of the pass.
            ArtifactError: the backbone's weights contain NaN or infinite values, if images must pass through it.
            WeightsError: the features of an image do.
        """
        title = f"{title}, {VIEW_NAMES[view]}" if view else title
        scores, distances, kept = list[torch.Tensor](), list[torch.Tensor](), list[torch.Tensor]()
        bad, counts = dict[int, str](), FeatureCounts()
        for part, some in in_parts(images):
            features, used = self.features.features(some, title, view)
            of_some = self._of_features(features.values)
            scores.append(of_some[0])
            distances.append(of_some[1])
            kept.append(features.kept + part.start)
            bad |= {part.start + position: reason for position, reason in features.bad.items()}
            counts += used
        known = None if self.model.bank is None else torch.cat(distances)
        return Scored(torch.cat(scores), torch.cat(kept), bad, known), counts

    def predictions_of_files(self, files: Sequence[str], coverage: float | None = None) -> list[Prediction | str]:
        """The prediction of each image file, or the reason why it can't be read; `coverage` as in `ranked_prediction`.

        Raises:
            ArtifactError: as `scores`, or the probabilities contain NaN.
            ConfigError: `coverage` isn't between 0 and 1, or the model had too few validation images for it.
        """
        if coverage is not None:
            check_coverage(self.model.card, coverage)
        answers, paths = list[Prediction | str](), dict[int, Path]()
        for position, file in enumerate(files):
            try:
                as_path(file)
                paths[position] = user_path(file, "image")
                answers.append("")
            except ImageError as error:
                answers.append(str(error))
        found, _ = self.probabilities(ImageFiles(tuple(paths.values())), "predicting", torch.float32)
        positions = list(paths)
        for number, reason in found.bad.items():
            answers[positions[number]] = reason
        distances = [None] * len(found.kept) if found.distances is None else found.distances.tolist()
        for number, row, distance in zip(found.kept.tolist(), found.values, distances, strict=True):
            answers[positions[number]] = ranked_prediction(self.model.card, row, distance, coverage)
        return answers

    @torch.inference_mode()
    def _of_features(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The scores [N, C] and, with a bank, the distances [N] of features [N, D].

        They are computed in chunks of one shape like those of the backbone.
        """
        compute, chunk_size = self.features.compute, self.features.chunk_size
        device, dtype = compute.device, compute.dtype
        weight, bias = (self.model.head[name].to(device, dtype) for name in ("weight", "bias"))
        bank = None if self.model.bank is None else self.model.bank.to(device)
        scores, distances = torch.empty(len(features), len(bias), dtype=dtype), torch.empty(len(features))
        for rows in torch.split(torch.arange(len(features)), chunk_size) if len(features) else ():
            chunk = F.pad(features[rows], (0, 0, 0, chunk_size - len(rows))).to(device)
            scores[rows] = F.linear(chunk, weight, bias)[: len(rows)].cpu()
            if bank is not None:
                distances[rows] = bank.distances(chunk)[: len(rows)].cpu()
        return scores, distances


def in_parts(images: SplitImages) -> Iterator[tuple[range, SplitImages]]:
    """The positions and the images of parts whose features fit in memory."""
    count = len(images)
    for start in range(0, max(1, count), IMAGES_AT_A_TIME):
        part = range(start, min(start + IMAGES_AT_A_TIME, count))
        yield part, images if len(part) == count else ChosenImages(images, part)
