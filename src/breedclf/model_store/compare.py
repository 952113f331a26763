"""Predicts the same images with two models, from stored features where there are some."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from breedclf.config import OnBadImage
from breedclf.config.evaluation import FeatureReuse
from breedclf.data.labeled_images import LabeledImages
from breedclf.data.split import Split
from breedclf.errors import DataError
from breedclf.evaluation.images import origin_of, shown_name
from breedclf.files.paths import StrPath
from breedclf.inference.model_directory import read_card
from breedclf.inference.ranking import check_finite
from breedclf.inference.scoring import Scoring
from breedclf.model_store.comparison import ModelComparison, compared


def compare_models(
    first: Path,
    second: Path,
    data: StrPath | LabeledImages | Mapping[str, LabeledImages],
    *,
    names: tuple[str, str] | None = None,
    split: str = "test",
    labels: StrPath | None = None,
    on_bad_image: OnBadImage = "error",
    reuse: FeatureReuse | None = None,
) -> ModelComparison:
    """Compare two model directories on the same images.

    Raises:
        DataError: the models don't have the same classes, or the images are of other ones.
        ArtifactError: a model can't be used.
        ImageError: an image can't be read and `on_bad_image` is `error`.
    """
    cards = read_card(first), read_card(second)
    if only := set(cards[0].labels) ^ set(cards[1].labels):
        shown = ", ".join(sorted(only)[:4])
        raise DataError(f"{first} and {second} have different classes ({shown}): compare models of the same classes")
    origin = origin_of(data, labels)
    images = origin.images(split, cards[0], on_bad_image)
    predicted = [_predicted(folder, images, on_bad_image, reuse or FeatureReuse()) for folder in (first, second)]
    kept = sorted(set(predicted[0][0]) & set(predicted[1][0]))
    targets = torch.tensor(images.targets)[kept].numpy()
    by_label = {label: index for index, label in enumerate(cards[0].labels)}
    order = torch.tensor([by_label[label] for label in cards[1].labels])
    answers = [torch.tensor([found[position] for position in kept]) for found, _ in predicted]
    names = names or (str(first), str(second))
    return compared(
        names,
        cards[0].labels,
        targets,
        answers[0].numpy(),
        order[answers[1]].numpy(),
        [str(shown_name(images.images.name(position), origin.root)) for position in kept],
        tuple(dict.fromkeys(reason for _, reasons in predicted for reason in reasons)),
    )


def _predicted(
    folder: Path, images: Split, on_bad_image: OnBadImage, reuse: FeatureReuse
) -> tuple[dict[int, int], list[str]]:
    """The predicted class of each readable image, by its position; and the reasons of the others."""
    scoring = Scoring.read(folder, reuse, stop_at_bad=on_bad_image == "error")
    found, _ = scoring.probabilities(images.images, f"predicting with {folder.name}")
    best = check_finite(found.values).argmax(1).tolist()
    return dict(zip(found.kept.tolist(), best, strict=True)), list(found.left_out(on_bad_image))
