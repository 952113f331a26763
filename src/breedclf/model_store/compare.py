"""Predicts the same images with two models, from stored features where there are some."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from breedclf.config import Device, OnBadImage, Precision
from breedclf.config.evaluation import FeatureReuse
from breedclf.data.labeled_images import LabeledImages
from breedclf.data.layout.names import some_names
from breedclf.data.split import Split
from breedclf.errors import DataError
from breedclf.evaluation.images import origin_of, shown_name
from breedclf.files.model_folder import model_directory_at
from breedclf.files.paths import StrPath, user_path
from breedclf.inference.model_directory import ModelCard, read_card
from breedclf.inference.ranking import check_finite
from breedclf.inference.scoring import Scoring
from breedclf.model_store.comparison import ComparedImages, ModelComparison, compared


def compare_models(
    a: StrPath,
    b: StrPath,
    data: StrPath | LabeledImages | Mapping[str, LabeledImages],
    *,
    names: tuple[str, str] | None = None,
    split: str = "test",
    labels: StrPath | None = None,
    on_bad_image: OnBadImage = "error",
    tta: bool = False,
    device: Device = "auto",
    precision: Precision = "auto",
    batch_size: int | None = None,
    workers: int | None = None,
    feature_cache: bool = True,
    feature_store: StrPath | None = None,
    verify_files: bool = False,
    cache_dir: StrPath | None = None,
) -> ModelComparison:
    """Compare two model directories on the same images; stored features are reused, as by `evaluate`.

    Args:
        a, b: the model directories; their classes may be in different orders.
        data: a dataset folder, a table, or labeled images; see `evaluate`.
        names: how the models are shown (default: their paths).
        split: train, valid, test or `all`.
        labels: a table of the labels, if `data` is a folder without class folders.
        on_bad_image: `error` stops at an unreadable image, `skip` leaves it out for both models.
        tta: average the probabilities of each image and its mirror image.
        device, precision, batch_size, workers, feature_cache, feature_store, verify_files, cache_dir: as of `evaluate`.

    Raises:
        DataError: the models don't have the same classes, or the images are of other ones.
        ArtifactError: a model can't be used.
        ImageError: an image can't be read and `on_bad_image` is `error`.

    Example:
        >>> compare_models("runs/a/model", "runs/b/model", "dogImages").verdict  # doctest: +SKIP
        'runs/b/model is better on 2,903 images: 12 mended, 3 broken, p = 0.035'
    """
    folders = model_directory_at(user_path(a, "a")), model_directory_at(user_path(b, "b"))
    cards = read_card(folders[0]), read_card(folders[1])
    names = names or (str(folders[0]), str(folders[1]))
    _check_classes(cards, names)
    reuse = FeatureReuse(
        feature_cache=feature_cache, feature_store=feature_store, verify_files=verify_files, cache_dir=cache_dir
    )
    origin = origin_of(data, labels)
    images = origin.images(split, cards[0], on_bad_image)
    scorings = [
        Scoring.read(
            folder,
            reuse,
            tta=tta,
            device=device,
            precision=precision,
            chunk_size=batch_size,
            workers=workers,
            stop_at_bad=on_bad_image == "error",
        )
        for folder in folders
    ]
    predicted = [_predicted(scoring, images, name, on_bad_image) for scoring, name in zip(scorings, names, strict=True)]
    kept = sorted(set(predicted[0][0]) & set(predicted[1][0]))
    targets = torch.tensor(images.targets)[kept].numpy()
    by_label = {label: index for index, label in enumerate(cards[0].labels)}
    order = torch.tensor([by_label[label] for label in cards[1].labels])
    answers = [torch.tensor([found[position] for position in kept]) for found, _ in predicted]
    return compared(
        names,
        cards[0].labels,
        targets,
        answers[0].numpy(),
        order[answers[1]].numpy(),
        [str(shown_name(images.images.name(position), origin.root)) for position in kept],
        tuple(dict.fromkeys(reason for _, reasons in predicted for reason in reasons)),
        ComparedImages(folders, images.images, origin.root, device, precision),
    )


def _check_classes(cards: tuple[ModelCard, ModelCard], names: tuple[str, str]) -> None:
    """Raises DataError if the models don't have the same classes."""
    first, second = (set(card.labels) for card in cards)
    if first != second:
        only = [
            f"only {name} has {some_names(sorted(labels))}"
            for name, labels in zip(names, (first - second, second - first), strict=True)
            if labels
        ]
        raise DataError(
            f"{names[0]} and {names[1]} have different classes: {'; '.join(only)}. Compare models of the same classes"
        )


def _predicted(
    scoring: Scoring, images: Split, name: str, on_bad_image: OnBadImage
) -> tuple[dict[int, int], list[str]]:
    """The predicted class of each readable image, by its position; and the reasons of the others."""
    found, _ = scoring.probabilities(images.images, f"predicting with {name}")
    best = check_finite(found.values).argmax(1).tolist()
    return dict(zip(found.kept.tolist(), best, strict=True)), list(found.left_out(on_bad_image))
