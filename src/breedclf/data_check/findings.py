"""From what was listed and looked at to problems and notes: pure functions."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import get_args

from breedclf.data.images import IMAGE_SUFFIXES
from breedclf.data.layout import UNDIVIDED, set_aside_line
from breedclf.data.layout.names import some_names
from breedclf.data_check.inspection import Look
from breedclf.data_check.listing import Candidate, Listing
from breedclf.data_check.result import Kind, Problem, Range

IMBALANCE_RATIO = 10
FEW_IMAGES = 5
_FORMAT_OF_SUFFIX = {".png": "PNG", ".webp": "WebP", ".gif": "GIF", ".bmp": "BMP", ".tif": "TIFF", ".tiff": "TIFF"}
_ORDER = {kind: at for at, kind in enumerate(get_args(Kind))}

Looks = Mapping[Candidate, Look]


def find_problems(listing: Listing, looks: Looks, *, tiny_px: int) -> list[Problem]:
    """Everything that is wrong, the worst first, then by path."""
    refusal = listing.layout.refusal
    classes = () if refusal and refusal.kind == "unclear_layout" else _class_problems(listing, looks)
    found = chain(listing.problems, _faults(looks, tiny_px), _duplicates(looks), classes)
    return sorted(found, key=lambda problem: (_ORDER[problem.kind], problem.path))


def find_notes(listing: Listing, looks: Looks) -> list[str]:
    """What is worth knowing and no fault."""
    notes = []
    main = "train" if "train" in listing.labels else UNDIVIDED
    if listing.layout.refusal and listing.layout.refusal.kind == "unclear_layout":
        pass
    elif main == UNDIVIDED:
        notes.append("there is no train/ folder: a training divides the pictures itself, class by class, with a seed")
    elif "valid" not in listing.labels:
        notes.append("there is no valid/ folder: a training gives up a share of train/ for one")
    few = [label for label, count in _readable(looks, main).items() if count < FEW_IMAGES]
    if few:
        notes.append(f"fewer than {FEW_IMAGES} pictures to train on in {len(few)} classes: {some_names(sorted(few))}")
    return [*notes, *filter(None, (listing.layout.doubt, set_aside_line(listing.layout)))]


def counts_by_class(listing: Listing, looks: Looks) -> dict[str, dict[str, int]]:
    """Pictures of each class in each split, readable or not."""
    labels = sorted(set(chain.from_iterable(listing.labels.values())))
    counts = {label: dict.fromkeys(listing.labels, 0) for label in labels}
    for picture in looks:
        counts[picture.label][picture.split] += 1
    return counts


def range_of(values: Sequence[int]) -> Range | None:
    if not values:
        return None
    return Range(smallest=min(values), median=statistics.median_low(values), largest=max(values))


def _faults(looks: Looks, tiny_px: int) -> Iterator[Problem]:
    for picture, look in looks.items():
        if look.fault:
            yield Problem(kind=look.fault, path=picture.path, detail=look.detail)
        elif facts := look.facts:
            yield from (Problem(kind=kind, path=picture.path, detail=detail) for kind, detail in facts.flaws)
            if (told := _format_told_by(picture.path)) != facts.format_name:
                detail = f"its name says {told}, its content is {facts.format_name}"
                yield Problem(kind="mislabelled_type", path=picture.path, detail=detail)
            if min(facts.width, facts.height) < tiny_px:
                detail = f"{facts.width} x {facts.height} pixels; below {tiny_px} there is little to see"
                yield Problem(kind="tiny", path=picture.path, detail=detail)


def _format_told_by(path: str) -> str:
    return _FORMAT_OF_SUFFIX.get(path[path.rindex(".") :].lower(), "JPEG")


def _duplicates(looks: Looks) -> Iterator[Problem]:
    """Every further file with the same bytes as an earlier one, told by where it lies."""
    first: dict[str, Candidate] = {}
    for picture, look in looks.items():
        if look.digest is None or not picture.stamp.size:
            continue
        original = first.setdefault(look.digest, picture)
        if original is picture:
            continue
        kind: Kind = "duplicate"
        where = ""
        if original.label != picture.label:
            kind, where = "duplicate_across_classes", ", of another class"
        if original.split != picture.split:
            kind = "duplicate_across_splits"
        yield Problem(kind=kind, path=picture.path, detail=f"the same bytes as {original.path}{where}")


def _class_problems(listing: Listing, looks: Looks) -> Iterator[Problem]:
    train = "train" if "train" in listing.labels else UNDIVIDED
    all_counts = Counter((picture.split, picture.label) for picture in looks)
    readable = {split: _readable(looks, split) for split in listing.labels}
    yield from _unusable(listing, readable, train)
    for split, labels in listing.labels.items():
        for label in labels:
            count = all_counts[split, label]
            strange = split != train and label not in listing.labels[train]
            if strange and count:
                yield Problem(
                    kind="class_missing_in_train",
                    path=listing.class_folder(split, label),
                    detail=f"{count} pictures of a class that train lacks",
                )
            elif not readable[split][label]:
                detail = (
                    f"none of its {count} pictures can be read" if count else "it holds no pictures; it is set aside"
                )
                yield Problem(kind="empty_class", path=listing.class_folder(split, label), detail=detail)
    others = {split: set(labels) for split, labels in listing.labels.items() if split != train}
    for label in listing.labels[train]:
        lacking = [split for split, labels in others.items() if label not in labels]
        if lacking and readable[train][label]:
            detail = f"no folder of it in {' and '.join(lacking)}, where it can't be measured"
            yield Problem(kind="class_missing_in_split", path=listing.class_folder(train, label), detail=detail)
    yield from _imbalance(listing, readable[train], train)


def _unusable(listing: Listing, readable: Mapping[str, Counter[str]], train: str) -> Iterator[Problem]:
    """What ends every training on this folder."""
    with_pictures = [label for label, count in readable[train].items() if count]
    if len(with_pictures) < 2:
        kind: Kind = "one_class" if with_pictures else "no_pictures"
        if with_pictures:
            detail = f"only {with_pictures[0]!r} has pictures that can be read; a classifier needs two classes"
        else:
            detail = f"no readable pictures in class folders ({' '.join(sorted(IMAGE_SUFFIXES))})"
        if listing.layout.hint:
            detail += f"; {listing.layout.hint}"
        yield Problem(kind=kind, path=listing.folders[train] or ".", detail=detail)
    elif "valid" not in listing.labels and max(readable[train].values()) < 2:
        detail = "every class has a single picture, so that none is left to validate on"
        yield Problem(kind="no_validation", path=listing.folders[train] or ".", detail=detail)
    elif "valid" in listing.labels and not readable["valid"].total():
        detail = "the validation split has no picture that can be read"
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
            f"{present[rarest]} pictures where {commonest!r} has {present[commonest]}, {ratio:.0f} times as many; "
            f"{rare} of {len(present)} classes have a {IMBALANCE_RATIO}th or less of that"
        )
        yield Problem(kind="imbalance", path=listing.class_folder(train, rarest), detail=detail)


def _readable(looks: Looks, split: str) -> Counter[str]:
    return Counter(picture.label for picture, look in looks.items() if picture.split == split and not look.fault)
