"""Decide which folders are splits and which are classes, by their names and contents."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from breedclf.data.layout.names import loose_split, ranked_split, some_names
from breedclf.data.layout.tree import Place, SetAside

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Reading:
    """The folders of the splits; None if the root holds class folders.

    `unclear` says why the layout is ambiguous, if it is; `doubt` is only a warning.
    """

    splits: Mapping[str, Place] | None = None
    why: str = ""
    set_aside: Sequence[SetAside] = ()
    doubt: str = ""
    unclear: str = ""


def read(places: Mapping[str, Place], labels: frozenset[str] = frozenset()) -> Reading:
    """Distinguish splits from classes; `labels` are the classes of a model, if the dataset must match one.

    A name counts only together with the content: a split holds class folders, a class holds images. A layout with two
    possible readings is unclear.
    """
    return _Root(places, labels).read()


def hint(places: Mapping[str, Place]) -> str:
    """The subfolder that the user probably meant, if the root holds a single folder with images."""
    full = [place for place in places.values() if place.holds_images()]
    while len(full) == 1 and not full[0].images:
        only, inner = full[0], full[0].inner()
        if train := next((name for name in inner if _split(name) == "train"), None):
            return f"{only.path}/ holds a {train}/ folder: give {only.path}/ instead"
        if len(inner) > 1:
            return f"if {some_names(list(inner))} in {only.path}/ are the classes, give {only.path}/ instead"
        full = list(inner.values())
    return ""


class _Root:
    """The subfolders of a root: `full` ones hold images, `named` ones are named like splits, `nested` ones are both."""

    def __init__(self, places: Mapping[str, Place], labels: frozenset[str]) -> None:
        self.labels = labels
        self.aside: list[SetAside] = []
        self.direct = {name for name, place in places.items() if place.images}
        self.places = {
            name: _undoubled(place, self.aside) if loose_split(name) else place for name, place in places.items()
        }
        self.inner = {name: place.inner() for name, place in self.places.items()}
        self.full = [name for name, place in self.places.items() if place.holds_images()]
        self.named = [name for name in self.places if ranked_split(name)]
        self.nested = [name for name in self.named if self.inner[name]]
        self.others = [name for name in self.full if name not in self.named]

    def read(self) -> Reading:
        reading = self._read()
        if not self.labels or self._fits(reading):
            return reading
        if any(self.labels & set(self.inner[name]) for name in self.nested):
            return self._splits(self.named)
        return self._classes() if self.labels & set(self.full) else reading

    def _fits(self, reading: Reading) -> bool:
        """Whether all classes of this reading are classes of the model."""
        if reading.unclear:
            return False
        found = self.full if reading.splits is None else [n for place in reading.splits.values() for n in place.inner()]
        return set(found) <= self.labels

    def _read(self) -> Reading:
        if any(_is_divided(self.inner[name], nested=True) for name in self.nested):
            return self._classes()  # refused later, with a hint at the intended folder
        trains = [name for name in self.named if _split(name) == "train"]
        if train := next((name for name in trains if name in self.nested), None):
            return self._with_train(train)
        if alike := self._alike():
            return self._splits(alike)
        flat = [name for name in self.full if loose_split(name) and not self.inner[name]]
        if any(name in self.full for name in trains):
            return self._classes() if self.others and flat == trains else _flat(flat)
        if len(flat) > 1 and flat == self.full:
            return _flat(flat)
        if (trains or self.nested) and not self.others:
            return self._splits(self.named)
        return self._classes()

    def _with_train(self, train: str) -> Reading:
        """The reading with a training folder: it is a split, unless it may be a class among other folders."""
        rivals = [name for name in self.others if not loose_split(name)]
        alone = all(_split(name) == "train" for name in self.named)
        few, direct = len(self.inner[train]) < 2, train in self.direct
        if alone and rivals and few and direct:
            return self._classes()
        if alone and rivals and (len(rivals) > 1 or few or direct):
            unclear = (
                f"{train}/ may be a split (of {some_names(list(self.inner[train]))}) or a class next to "
                f"{some_names(rivals)}: move the other folders elsewhere, or rename the class"
            )
            return Reading(unclear=unclear)
        return self._splits(self.named)

    def _alike(self) -> list[str]:
        """Folders whose names contain a split's name, if a training folder and another one have classes in common."""
        candidates = {name: loose_split(name) for name, inner in self.inner.items() if inner and loose_split(name)}
        train = next((name for name, split in candidates.items() if split == "train"), None)
        if train is None or len(self.inner[train]) < 2:
            return []
        classes = set(self.inner[train])
        others = [name for name, split in candidates.items() if split != "train" and classes & set(self.inner[name])]
        return [train, *others] if others else []

    def _splits(self, named: Sequence[str]) -> Reading:
        by_split: dict[str, list[str]] = defaultdict(list)
        aside = list(self.aside)
        for name in named:
            split = _split(name) or loose_split(name) or ""
            if name in self.full and not self.inner[name] and split != "train":
                aside.append(SetAside(self.places[name].path, "unlabeled"))
            else:
                by_split[split].append(name)
        if evals := by_split.pop("eval", []):  # valid or test: whichever has no folder of its own
            is_test = self._has_classes(by_split["valid"]) and not self._has_classes(by_split["test"])
            by_split["test" if is_test else "valid"] += evals
        splits: dict[str, Place] = {}
        for split, names in by_split.items():
            for name in sorted(names, key=self._rank):
                path = self.places[name].path
                if split not in splits:
                    splits[split] = self.places[name]
                elif name in self.full:
                    aside.append(SetAside(path, "second_spelling", instead=splits[split].path))
                else:
                    aside.append(SetAside(path, "no_images"))
        for name, place in self.places.items():
            if name not in named:
                aside.append(SetAside(place.path, "not_a_split" if name in self.full else "no_images"))
        why = ", ".join(f"{splits[split].path}/ is {split}" for split in SPLITS if split in splits)
        return Reading({split: splits[split] for split in SPLITS if split in splits}, why, aside)

    def _has_classes(self, names: Sequence[str]) -> bool:
        return any(self.inner[name] for name in names)

    def _rank(self, name: str) -> tuple[object, ...]:
        """Of several folders for one split, the one with the smallest rank is read."""
        ranked = ranked_split(name)
        order = (ranked.split == "eval", *ranked[1:]) if ranked else (True,)
        return (not self.inner[name], name not in self.full, *order, name)

    def _classes(self) -> Reading:
        divided = [name for name in self.full if _is_divided(self.inner[name])]
        if divided and len(self.full) > 1:
            inside = [name for name in self.inner[divided[0]] if _split(name)]
            unclear = (
                f"{some_names(divided)} contain {some_names(inside)}: put the splits first and the classes below them "
                f"({inside[0]}/{divided[0]}/image.jpg), or give one of them if each is a dataset"
            )
            return Reading(unclear=unclear)
        doubt = ""
        shared = set.intersection(*(set(self.inner[name]) for name in self.full)) if self.full else set()
        if len(self.full) > 1 and len(shared) > 1 and all(len(self.inner[name]) == len(shared) for name in self.full):
            doubt = (
                f"{some_names(self.full)} all contain {some_names(sorted(shared))} and are read as classes; if they "
                "are splits, name them train, valid and test"
            )
        return Reading(why="its folders are classes", doubt=doubt)


def _flat(names: Sequence[str]) -> Reading:
    unclear = (
        f"{some_names(names)} contain images instead of class folders, so their classes are unknown: put them into one "
        f"folder per class ({names[0]}/CLASS/image.jpg), or rename the folders if they are the classes"
    )
    return Reading(unclear=unclear)


def _undoubled(place: Place, aside: list[SetAside]) -> Place:
    """NAME/NAME/ in place of NAME/, if it holds class folders (some archives unpack so); the rest is set aside."""
    name, inner = place.path.rpartition("/")[2].casefold(), place.inner()
    while [each.casefold() for each in inner] == [name]:
        only = next(iter(inner.values()))
        if not (deeper := only.inner()):
            break
        aside += [SetAside(each.path, "no_images") for each in dict(place.places(aside)).values() if each != only]
        if place.folder.hidden_images:
            aside.append(SetAside(place.path, "hidden_image", place.folder.hidden_images))
        if place.images:
            aside.append(SetAside(place.path, "stray", place.images))
        place, inner = only, deeper
    return place


def _is_divided(inner: Mapping[str, Place], *, nested: bool = False) -> bool:
    """Whether a folder holds a training split and another split; with `nested`, the former must hold class folders."""
    found = {split: name for name in inner if (split := _split(name))}
    return len(found) > 1 and "train" in found and (not nested or bool(inner[found["train"]].inner()))


def _split(name: str) -> str:
    ranked = ranked_split(name)
    return ranked.split if ranked else ""
