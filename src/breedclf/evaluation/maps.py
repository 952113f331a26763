"""Maps of the worst images for the report, and where the evidence of a sample of images is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from breedclf.config import Device, Precision
from breedclf.data.images import pillow_image
from breedclf.data.split import SplitImages
from breedclf.errors import ConfigError, ImageError
from breedclf.evaluation.metrics import Evaluation
from breedclf.evaluation.thumbnails import Thumbnails
from breedclf.explanations.border import UNIFORM_BORDER_SHARE
from breedclf.explanations.explainer import Explainer
from breedclf.explanations.explanation import Explanation
from breedclf.inference.classifier import Classifier
from breedclf.models.head import spread

_SAMPLE = 24
_FEWEST = 10
_MANY = 0.5


@dataclass(frozen=True)
class WorstMap:
    """Small JPEGs of what speaks for the wrong answer, and for it rather than for the true class."""

    answer: bytes
    difference: bytes


@dataclass(frozen=True)
class BorderEvidence:
    """The border shares of exact maps of a sample of images, each of the given answer."""

    shares: tuple[float, ...]

    @property
    def mean(self) -> float:
        return sum(self.shares) / len(self.shares)

    @property
    def above_uniform(self) -> int:
        """The images with more evidence on the border than a map with equal values everywhere."""
        return sum(share > UNIFORM_BORDER_SHARE for share in self.shares)

    @property
    def is_suspicious(self) -> bool:
        return len(self.shares) >= _FEWEST and self.above_uniform >= _MANY * len(self.shares)


@dataclass(frozen=True)
class ReportMaps:
    """The maps of a report; without any, `reason` says why."""

    worst: tuple[WorstMap, ...] = ()
    method: str = ""
    is_exact: bool = False
    border: BorderEvidence | None = None
    reason: str = ""


def report_maps(
    model: Path, images: SplitImages, root: Path, result: Evaluation, *, device: Device, precision: Precision
) -> ReportMaps:
    """Explain the worst images of an evaluation, and where the evidence of some of its images is.

    At most 36 images pass through the network again.

    Raises:
        ArtifactError: the model directory was changed meanwhile.
    """
    classifier = Classifier(model, device=device, precision=precision)
    try:
        explainer = Explainer(classifier)
    except ConfigError as error:
        return ReportMaps(reason=str(error))
    names = Thumbnails(images, root)
    labels = list(result.labels)
    worst = [_crop(classifier, images, names.position(wrong.path)) for wrong in result.worst]
    wrong_classes = [labels.index(wrong.predicted) for wrong in result.worst]
    explained = _explanations(explainer, classifier, worst, wrong_classes)
    border = None
    if explainer.is_exact:
        sample = _explanations(explainer, classifier, _sample(classifier, images), None)
        shares = tuple(each.border_share for each in sample)
        border = BorderEvidence(shares) if shares else None
    maps = tuple(
        WorstMap(each.jpeg(), each.difference(wrong.true).jpeg())
        for each, wrong in zip(explained, result.worst, strict=True)
    )
    method = explained[0].method if explained else ""
    return ReportMaps(maps, method, explainer.is_exact, border)


@dataclass(frozen=True)
class AnswerMaps:
    """Small JPEGs of what speaks for a model's answers, one per image; without any, `reason` says why."""

    jpegs: tuple[bytes, ...] = ()
    method: str = ""
    is_exact: bool = False
    reason: str = ""


def answer_maps(
    model: Path,
    images: SplitImages,
    positions: Sequence[int],
    answers: Sequence[str],
    *,
    device: Device,
    precision: Precision,
) -> AnswerMaps:
    """Explain the answers of a model, labels of its classes, to some images.

    Raises:
        ArtifactError: the model directory was changed meanwhile.
        ImageError: so was an image.
    """
    classifier = Classifier(model, device=device, precision=precision)
    try:
        explainer = Explainer(classifier)
    except ConfigError as error:
        return AnswerMaps(reason=str(error))
    crops = [_crop(classifier, images, position) for position in positions]
    found = _explanations(explainer, classifier, crops, [classifier.card.labels.index(label) for label in answers])
    return AnswerMaps(tuple(each.jpeg() for each in found), found[0].method if found else "", explainer.is_exact)


def _explanations(
    explainer: Explainer, classifier: Classifier, crops: Sequence[torch.Tensor], classes: Sequence[int] | None
) -> list[Explanation]:
    found, size = list[Explanation](), classifier.batch_size
    for start in range(0, len(crops), size):
        some = None if classes is None else classes[start : start + size]
        found += explainer.explanations(torch.stack(list(crops[start : start + size])), some)
    return found


def _sample(classifier: Classifier, images: SplitImages) -> list[torch.Tensor]:
    """The crops of up to 24 images at equal distances; unreadable ones are left out."""
    crops = list[torch.Tensor]()
    for position in spread(len(images), _SAMPLE).tolist():
        try:
            crops.append(_crop(classifier, images, position))
        except ImageError:
            continue
    return crops


def _crop(classifier: Classifier, images: SplitImages, index: int) -> torch.Tensor:
    preprocessing = classifier.preprocessing
    image = pillow_image(images.read(index), images.name(index), color=preprocessing.color)
    return preprocessing.view(image, 0)
