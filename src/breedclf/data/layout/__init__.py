"""The layout of a dataset folder: which folders are splits, which are classes, and what is set aside and why.

`layout_of` is a pure function of the folder's listing. Training, evaluation, the dataset check and uploads all use it,
so they always agree.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from breedclf.data.images import IMAGE_SUFFIXES
from breedclf.data.layout.names import is_image_name, some_names
from breedclf.data.layout.reading import hint, read
from breedclf.data.layout.tree import Folder, Place, Reason, SetAside, join

__all__ = [
    "UNDIVIDED",
    "Folder",
    "Layout",
    "Part",
    "Refusal",
    "SetAside",
    "everything_below",
    "layout_of",
    "set_aside_line",
]

UNDIVIDED = "all"
_MAX_NAMES = 4
_DESCRIPTIONS: Mapping[Reason, str] = {
    "output": "made by breedclf",
    "system": "created by a system or tool",
    "hidden": "hidden",
    "hidden_image": "hidden images",
    "no_images": "without images",
    "not_a_split": "beside the splits",
    "second_spelling": "a second folder of the same split",
    "unlabeled": "images outside a class folder",
    "stray": "images outside the class folders",
    "read_elsewhere": "a link to a folder that is already read",
    "link_loop": "a link to a folder that contains it",
}
_COUNTED: tuple[Reason, ...] = ("stray", "hidden_image")
_LOSES_IMAGES: tuple[Reason, ...] = ("not_a_split", "second_spelling", "unlabeled", "stray", "read_elsewhere")


class Part(NamedTuple):
    """A folder whose images belong to a class; `path` is relative to the root."""

    path: str
    folder: Folder


class Refusal(NamedTuple):
    """Why a folder can't be used; `path` is the folder that causes it, relative to the root."""

    kind: Literal["unclear_layout", "name_not_utf8", "unreadable", "no_pictures", "one_class", "class_missing_in_train"]
    path: str
    detail: str


@dataclass(frozen=True)
class Layout:
    """The layout of a dataset folder.

    `splits` maps each split to its folder ("all" if the root holds class folders), `parts` maps each class of a split
    to the folders that it consists of, including classes without images. `why` explains the choice, `doubt` is a
    warning about it, `hint` names the folder that the user probably meant, `refusal` says why the folder can't be used.
    """

    splits: Mapping[str, str]
    parts: Mapping[str, Mapping[str, Sequence[Part]]]
    set_aside: tuple[SetAside, ...]
    why: str
    doubt: str = ""
    hint: str = ""
    refusal: Refusal | None = None

    @property
    def divided(self) -> bool:
        """Whether the root has split folders."""
        return UNDIVIDED not in self.splits

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels that training learns: class folders with training images, sorted."""
        return self.labels_with_images("train" if self.divided else UNDIVIDED)

    def labels_with_images(self, split: str) -> tuple[str, ...]:
        """The class folders of a split that hold images, sorted."""
        return tuple(label for label in self.parts.get(split, {}) if self.count(split, label))

    def count(self, split: str, label: str) -> int:
        """The number of images of a class in a split."""
        return sum(len(part.folder.images) for part in self.parts.get(split, {}).get(label, ()))

    @property
    def unread(self) -> Callable[[str], bool]:
        """A function that says whether a folder or file, by its path below the root, is set aside."""
        folders = {each.path for each in self.set_aside if each.reason not in _COUNTED}
        with_strays = {each.path for each in self.set_aside if each.reason == "stray"}

        def is_unread(path: str) -> bool:
            folder, _, name = path.rpartition("/")
            return path in folders or (folder in with_strays and is_image_name(name))

        return is_unread

    @property
    def loses_images(self) -> bool:
        """Whether images of the user are set aside, not only files of systems and tools."""
        return any(each.reason in _LOSES_IMAGES for each in self.set_aside)

    def training_refusal(self) -> Refusal | None:
        """Why training can't use the folder; None if it can."""
        if self.refusal is not None:
            return self.refusal
        if self.divided and "train" not in self.splits:
            have = some_names(sorted(self.splits.values()))
            return Refusal("no_pictures", ".", f"no training images: there is {have}, but no train folder")
        classes = self.classes
        home = self.splits["train" if self.divided else UNDIVIDED] or "."
        if not classes:
            suffixes = " ".join(sorted(IMAGE_SUFFIXES))
            detail = f"no training images: put them into one folder per class ({suffixes})"
            return Refusal("no_pictures", home, detail)
        if len(classes) < 2:
            more = f"; {self.hint}" if self.hint else ""
            detail = f"only one class, {classes[0]!r}; a classifier needs two or more{more}"
            return Refusal("one_class", home, detail)
        trained = set(classes)
        for split in self.splits:
            if strangers := [label for label in self.labels_with_images(split) if label not in trained]:
                detail = (
                    f"the {split} split ({self.splits[split]}/) has classes that train doesn't have: "
                    f"{some_names(strangers)}; add training images of them, or remove them from {split}"
                )
                return Refusal("class_missing_in_train", join(self.splits[split], strangers[0]), detail)
        return None


def layout_of(root: Folder, *, labels: Collection[str] = ()) -> Layout:
    """Decide on the layout of a listed folder; `labels` are the classes of a model, if the dataset must match one.

    Example:
        >>> def flat(*names):
        ...     return Folder({name: Folder(images=["1.jpg"]) for name in names})
        >>> layout_of(Folder({"Train": flat("ant", "bee"), "VAL": flat("ant"), "notes": Folder()})).splits
        {'train': 'Train', 'valid': 'VAL'}
        >>> layout_of(flat("car", "bus", "train")).classes
        ('bus', 'car', 'train')
    """
    aside: list[SetAside] = []
    top = Place("", root, ())
    places = dict(top.places(aside))
    reading = read(places, frozenset(labels))
    aside += reading.set_aside
    if reading.unclear:
        refusal = Refusal("unclear_layout", ".", reading.unclear)
        return Layout({UNDIVIDED: ""}, {UNDIVIDED: {}}, tuple(aside), reading.why, refusal=refusal)
    homes = {UNDIVIDED: top} if reading.splits is None else dict(reading.splits)
    if reading.splits is not None and top.images:
        aside.append(SetAside("", "stray", top.images))
    parts = {split: dict(sorted(found.items())) for split, found in _parts_of(homes, root, aside).items()}
    layout = Layout(
        splits={split: home.path for split, home in homes.items()},
        parts=parts,
        set_aside=(),
        why=reading.why,
        doubt=reading.doubt,
        hint=hint(places) if reading.splits is None else "",
    )
    for split, by_label in parts.items():
        with_images = layout.labels_with_images(split)
        aside += [SetAside(join(homes[split].path, name), "no_images") for name in by_label if name not in with_images]
    return Layout(**{**vars(layout), "set_aside": tuple(sorted(set(aside))), "refusal": _refusal(layout, homes)})


def everything_below(root: Folder) -> list[Part]:
    """All folders that belong to a class folder with this listing."""
    return _parts_of({UNDIVIDED: Place("", Folder({"": root}), ())}, root, [])[UNDIVIDED].get("", [])


def set_aside_line(layout: Layout) -> str:
    """What is set aside and why, in one line; empty if nothing is."""
    groups: dict[Reason, list[SetAside]] = defaultdict(list)
    for each in layout.set_aside:
        groups[each.reason].append(each)
    parts = [_described(reason, groups[reason]) for reason in _DESCRIPTIONS if reason in groups]
    return f"set aside: {'; '.join(parts)}" if parts else ""


def _described(reason: Reason, found: Sequence[SetAside]) -> str:
    paths = [each.path or "." for each in found]
    if reason in _COUNTED:
        return f"{sum(each.images for each in found):,} {_DESCRIPTIONS[reason]} in {some_names(paths, most=_MAX_NAMES)}"
    if reason in ("system", "hidden"):  # a few names that recur in many folders
        paths = sorted({path.rpartition("/")[2] for path in paths})
    places = f" in {len(found):,} places" if len(found) > len(paths) else ""
    return f"{some_names(paths, most=_MAX_NAMES)}{places} ({_DESCRIPTIONS[reason]})"


def _parts_of(homes: Mapping[str, Place], root: Folder, aside: list[SetAside]) -> dict[str, dict[str, list[Part]]]:
    """The folders of every class, each once: by the path with the fewest links, then the first by split and name."""
    parts: dict[str, dict[str, list[Part]]] = {split: {} for split in homes}
    taken: dict[Folder, str] = {}
    by_links: dict[int, list[tuple[str, str, Place]]] = defaultdict(list)
    for split, home in homes.items():
        _note_images(home, aside, stray=True)
        is_link = home.path.partition("/")[0] in root.links
        for name, place in home.places(aside):
            by_links[is_link + (name in home.folder.links)].append((split, name, place))
    while by_links:
        links = min(by_links)
        waiting = by_links.pop(links)[::-1]
        while waiting:
            split, label, place = waiting.pop()
            if place.folder in taken:
                aside.append(SetAside(place.path, "read_elsewhere", instead=taken[place.folder]))
                continue
            taken[place.folder] = place.path
            parts[split].setdefault(label, []).append(Part(place.path, place.folder))
            _note_images(place, aside, stray=False)
            for name, deeper in place.places(aside):
                target = by_links[links + 1] if name in place.folder.links else waiting
                target.append((split, label, deeper))
    return parts


def _note_images(place: Place, aside: list[SetAside], *, stray: bool) -> None:
    if place.folder.hidden_images:
        aside.append(SetAside(place.path, "hidden_image", place.folder.hidden_images))
    if stray and place.images:
        aside.append(SetAside(place.path, "stray", place.images))


def _refusal(layout: Layout, homes: Mapping[str, Place]) -> Refusal | None:
    for split, by_label in layout.parts.items():
        home = homes[split]
        for part in [Part(home.path, home.folder), *(part for found in by_label.values() for part in found)]:
            if part.folder.unreadable:
                detail = f"data folder {part.path or '.'} can't be read: {part.folder.unreadable}"
                return Refusal("unreadable", part.path or ".", detail)
        for label in layout.labels_with_images(split):
            if re.search("[\ud800-\udfff]", label):
                detail = (
                    f"the name of the class folder {label!r} isn't valid UTF-8, so a model can't store it: rename it, "
                    "or unpack its archive again with the correct encoding (unzip -O)"
                )
                return Refusal("name_not_utf8", join(home.path, label), detail)
    return None
