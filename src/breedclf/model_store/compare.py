"""Predicts the same images with two models, from stored features where there are some."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch

from breedclf.config import Device, OnBadImage, Precision
from breedclf.config.evaluation import FeatureReuse
from breedclf.data.labeled_images import LabeledImages
from breedclf.data.layout.names import some_names
from breedclf.data.split import Split
from breedclf.errors import DataError
from breedclf.evaluation.images import origin_of, shown_name
from breedclf.features.image_features import FeaturePass, RepeatedPass
from breedclf.features.values import reasons_of
from breedclf.files.model_folder import model_directory_at
from breedclf.files.paths import StrPath, user_path
from breedclf.inference.model_directory import ModelCard, read_card
from breedclf.inference.ranking import check_finite
from breedclf.inference.scoring import Scoring, in_parts
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
        names: how the models are shown (default: what their paths don't share).
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
        'b is better on 2,903 images: 12 mended, 3 broken, p = 0.035'
    """
    folders = model_directory_at(user_path(a, "a")), model_directory_at(user_path(b, "b"))
    cards = read_card(folders[0]), read_card(folders[1])
    names = names or short_names(*folders)
    _check_classes(cards, names)
    reuse = FeatureReuse(
        feature_cache=feature_cache, feature_store=feature_store, verify_files=verify_files, cache_dir=cache_dir
    )
    origin = origin_of(data, labels)
    images = origin.images(split, cards[0], on_bad_image)
    first, second = scorings = _sharing(
        *(
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
        )
    )
    class_names = dict(zip(cards[0].labels, cards[0].class_names, strict=True))
    kept, (of_first, of_second), skipped = _predicted(scorings, images, on_bad_image)
    by_label = {label: index for index, label in enumerate(first.model.card.labels)}
    order = torch.tensor([by_label[label] for label in second.model.card.labels])
    return compared(
        names,
        first.model.card.labels,
        torch.tensor(images.targets)[kept].numpy(),
        of_first.numpy(),
        order[of_second].numpy(),
        lambda at: str(shown_name(images.images.name(int(kept[at])), origin.root)),
        skipped,
        ComparedImages(
            folders,
            class_names,
            images.images,
            origin.root,
            device,
            precision,
        ),
    )


def short_names(a: Path, b: Path) -> tuple[str, str]:
    """What two paths don't share at their start and end; the whole paths if nothing is left of one.

    Example:
        >>> short_names(Path("runs/a/model"), Path("runs/b/model"))
        ('a', 'b')
    """
    first, second = list(a.parts), list(b.parts)
    for end in (0, -1):
        while first and second and first[end] == second[end]:
            del first[end], second[end]
    return (str(Path(*first)), str(Path(*second))) if first and second else (str(a), str(b))


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


def _sharing(first: Scoring, second: Scoring) -> tuple[Scoring, Scoring]:
    """Both models without what a comparison doesn't need; the features of one backbone are found or computed once."""
    shared: tuple[FeaturePass, FeaturePass] = (first.features, second.features)
    if first.features.is_that_of(second.features):
        shared = (RepeatedPass(**vars(first.features)),) * 2
    first, second = (replace(each, model=replace(each.model, bank=None)) for each in (first, second))
    return replace(first, features=shared[0]), replace(second, features=shared[1])


def _predicted(
    scorings: tuple[Scoring, Scoring], images: Split, on_bad_image: OnBadImage
) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor], list[str]]:
    """The positions of the images that both models can read, the classes that each predicts, and why others are left
    out.
    """
    best = torch.full((2, len(images.images)), -1)
    bad = dict[int, str]()
    for part, some in in_parts(images.images):
        for row, scoring in enumerate(scorings):
            found, _ = scoring.probabilities(some, f"predicting with {('the first', 'the second')[row]} model")
            best[row, found.kept + part.start] = check_finite(found.values).argmax(1)
            bad |= {part.start + position: reason for position, reason in found.bad.items()}
    kept = torch.nonzero((best >= 0).all(0)).flatten()
    skipped = reasons_of(bad, len(kept), on_bad_image)
    return kept, (best[0, kept], best[1, kept]), skipped
