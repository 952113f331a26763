"""Turn the listing and the inspected files into problems and notes: pure functions."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import get_args

from breedclf.data.images import IMAGE_SUFFIXES
from breedclf.data.layout import UNDIVIDED, set_aside_line
from breedclf.data.layout.names import is_image_name, some_names
from breedclf.data_check.inspection import Inspection
from breedclf.data_check.listing import Candidate, Listing
from breedclf.data_check.result import Kind, Problem, Range

IMBALANCE_RATIO = 10
FEW_IMAGES = 5
_FORMAT_OF_SUFFIX = {".png": "PNG", ".webp": "WebP", ".gif": "GIF", ".bmp": "BMP", ".tif": "TIFF", ".tiff": "TIFF"}
_ORDER = {kind: at for at, kind in enumerate(get_args(Kind))}

Inspections = Mapping[Candidate, Inspection]


def find_problems(listing: Listing, inspections: Inspections, *, tiny_px: int) -> list[Problem]:
    """All problems, most severe first, then by path."""
    refusal = listing.layout.refusal
    classes = () if refusal and refusal.kind == "unclear_layout" else _class_problems(listing, inspections)
    problems = chain(listing.problems, _faults(inspections, tiny_px), _duplicates(inspections), classes)
    return sorted(problems, key=lambda problem: (_ORDER[problem.kind], problem.path))


def find_notes(listing: Listing, inspections: Inspections) -> list[str]:
    """Remarks that are worth knowing but aren't problems."""
    notes = []
    main = "train" if "train" in listing.labels else UNDIVIDED
    if listing.layout.refusal and listing.layout.refusal.kind == "unclear_layout":
        pass
    elif listing.table and main == UNDIVIDED:
        notes.append("the table has no column split: training splits the images itself, with a seed")
    elif listing.table and "valid" not in listing.labels:
        notes.append("no row is in the valid split: training sets a share of the training images aside for it")
    elif main == UNDIVIDED:
        notes.append("there is no train/ folder: training splits the images itself, class by class, with a seed")
    elif "valid" not in listing.labels:
        notes.append("there is no valid/ folder: training sets a share of train/ aside for validation")
    few = [label for label, count in _readable(inspections, main).items() if count < FEW_IMAGES]
    if few:
        notes.append(f"fewer than {FEW_IMAGES} training images in {len(few)} classes: {some_names(sorted(few))}")
    return [*notes, *filter(None, (listing.layout.doubt, set_aside_line(listing.layout)))]


def counts_by_class(listing: Listing, inspections: Inspections) -> dict[str, dict[str, int]]:
    """The number of images of each class in each split, readable or not."""
    labels = sorted(set(chain.from_iterable(listing.labels.values())))
    counts = {label: dict.fromkeys(listing.labels, 0) for label in labels}
    for image in inspections:
        counts[image.label][image.split] += 1
    return counts


def range_of(values: Sequence[int]) -> Range | None:
    """Minimum, median and maximum; None if there are no values."""
    if not values:
        return None
    return Range(smallest=min(values), median=statistics.median_low(values), largest=max(values))


def _faults(inspections: Inspections, tiny_px: int) -> Iterator[Problem]:
    for image, found in inspections.items():
        if found.fault:
            yield Problem(kind=found.fault, path=image.path, detail=found.detail)
        elif facts := found.facts:
            yield from (Problem(kind=kind, path=image.path, detail=detail) for kind, detail in facts.flaws)
            expected = _format_of_name(image.path)
            if expected is not None and expected != facts.format_name:
                detail = f"its name says {expected}, but its content is {facts.format_name}"
                yield Problem(kind="mislabelled_type", path=image.path, detail=detail)
            if min(facts.width, facts.height) < tiny_px:
                detail = f"{facts.width} x {facts.height} pixels; below {tiny_px} there is little detail"
                yield Problem(kind="tiny", path=image.path, detail=detail)


def _format_of_name(path: str) -> str | None:
    """The format that a name promises; None for a name without an image's suffix, which only a table can give."""
    return _FORMAT_OF_SUFFIX.get(path[path.rindex(".") :].lower(), "JPEG") if is_image_name(path) else None


def _duplicates(inspections: Inspections) -> Iterator[Problem]:
    """Report each file that has the same bytes as an earlier one; the kind says where the two are."""
    first: dict[str, Candidate] = {}
    for image, found in inspections.items():
        if found.digest is None or not image.file_stat.size:
            continue
        original = first.setdefault(found.digest, image)
        if original is image:
            continue
        kind: Kind = "duplicate"
        where = ""
        if original.label != image.label:
            kind, where = "duplicate_across_classes", ", of another class"
        if original.split != image.split:
            kind = "duplicate_across_splits"
        yield Problem(kind=kind, path=image.path, detail=f"the same bytes as {original.path}{where}")


def _class_problems(listing: Listing, inspections: Inspections) -> Iterator[Problem]:
    train = "train" if "train" in listing.labels else UNDIVIDED
    all_counts = Counter((image.split, image.label) for image in inspections)
    readable = {split: _readable(inspections, split) for split in listing.labels}
    yield from _unusable(listing, readable, train)
    for split, labels in listing.labels.items():
        for label in labels:
            count = all_counts[split, label]
            strange = split != train and label not in listing.labels[train]
            if strange and count:
                yield Problem(
                    kind="class_missing_in_train",
                    path=listing.class_folder(split, label),
                    detail=f"{count} images of a class that train{'' if listing.table else '/'} doesn't have",
                )
            elif not readable[split][label]:
                detail = f"none of its {count} images can be read" if count else "it holds no images and is set aside"
                yield Problem(kind="empty_class", path=listing.class_folder(split, label), detail=detail)
    others = {split: set(labels) for split, labels in listing.labels.items() if split != train}
    for label in listing.labels[train]:
        lacking = [split for split, labels in others.items() if label not in labels]
        if lacking and readable[train][label]:
            what = "images" if listing.table else "folder"
            detail = f"it has no {what} in {' and '.join(lacking)}, so it isn't evaluated there"
            yield Problem(kind="class_missing_in_split", path=listing.class_folder(train, label), detail=detail)
    yield from _imbalance(listing, readable[train], train)


def _unusable(listing: Listing, readable: Mapping[str, Counter[str]], train: str) -> Iterator[Problem]:
    """Report what makes any training on this folder fail."""
    with_images = [label for label, count in readable[train].items() if count]
    if len(with_images) < 2:
        kind: Kind = "one_class" if with_images else "no_pictures"
        if with_images:
            detail = f"only {with_images[0]!r} has readable images; a classifier needs two classes"
        else:
            where = "training rows" if listing.table else f"class folders ({' '.join(sorted(IMAGE_SUFFIXES))})"
            detail = f"no readable images in {where}"
        if listing.layout.hint:
            detail += f"; {listing.layout.hint}"
        yield Problem(kind=kind, path=listing.folders[train] or ".", detail=detail)
    elif "valid" not in listing.labels and max(readable[train].values()) < 2:
        detail = "every class has a single image, so none is left for validation"
        yield Problem(kind="no_validation", path=listing.folders[train] or ".", detail=detail)
    elif "valid" in listing.labels and not readable["valid"].total():
        detail = "the validation split has no readable images"
        yield Problem(kind="no_validation", path=listing.folders["valid"], detail=detail)


def _imbalance(listing: Listing, counts: Mapping[str, int], train: str) -> Iterator[Problem]:
    present = {label: count for label, count in counts.items() if count}
    if len(present) < 2:
        return
    rarest = min(present, key=lambda label: (present[label], label))
    commonest = max(present, key=lambda label: present[label])
    ratio = present[commonest] / present[rarest]
    if ratio >= IMBALANCE_RATIO:
        rare = sum(present[commonest] >= IMBALANCE_RATIO * count for count in present.values())
        detail = (
            f"{present[rarest]} images, while {commonest!r} has {present[commonest]}, {ratio:.0f} times as many; "
            f"{rare} of {len(present)} classes have a {IMBALANCE_RATIO}th of that or less"
        )
        yield Problem(kind="imbalance", path=listing.class_folder(train, rarest), detail=detail)


def _readable(inspections: Inspections, split: str) -> Counter[str]:
    return Counter(image.label for image, found in inspections.items() if image.split == split and not found.fault)
