"""Which classes of a run a model already knows: by the names of their folders, else by unique display names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from breedclf.data.layout.names import some_names


@dataclass(frozen=True)
class ClassMatch:
    """The classes of a model and of a run, side by side.

    Args:
        rows: for each class of the run the model's output, or None for a new class.
        kept: labels of the run's classes that the model knows.
        new: labels of those that it doesn't.
        dropped: labels of the model's classes that the run lacks.
        renamed: label in the run to label in the model, where they differ.
    """

    rows: tuple[int | None, ...]
    kept: tuple[str, ...]
    new: tuple[str, ...]
    dropped: tuple[str, ...]
    renamed: Mapping[str, str]

    def __str__(self) -> str:
        """One line for the log.

        Example:
            >>> print(match_classes(["1.Cat", "2.Dog"], ["Cat", "Dog"], ["1.Ant", "2.Cat"], ["Ant", "Cat"]))
            1 class kept ('2.Cat' was '1.Cat'), 1 new ('1.Ant'), 1 dropped ('2.Dog')
        """
        changed = [f"{now!r} was {then!r}" for now, then in self.renamed.items()]
        more = f" and {len(changed) - 5} more" if len(changed) > 5 else ""
        renamed = f" ({', '.join(changed[:5])}{more})" if changed else ""
        kept = f"{len(self.kept)} class{'es' * (len(self.kept) > 1)} kept{renamed}"
        parts = [kept] if self.kept else ["no class kept, so the head is new"]
        for what, labels in (("new", self.new), ("dropped", self.dropped)):
            parts += [f"{len(labels)} {what} ({some_names(labels)})"] if labels else []
        return ", ".join(parts)


def match_classes(
    model_labels: Sequence[str], model_names: Sequence[str], labels: Sequence[str], names: Sequence[str]
) -> ClassMatch:
    """Match the classes of a run to those of a model.

    Equal labels match. The numbers of folders such as `002.Beagle` change when classes are added, so a class without an
    equal label matches one with the same display name, if no other class of either side has it.
    """
    output_of = {label: row for row, label in enumerate(model_labels)}
    free = {label for label in model_labels if label not in set(labels)}
    unique_then, unique_now = _unique(model_names), _unique(names)
    by_name = {
        name: label
        for label, name in zip(model_labels, model_names, strict=True)
        if label in free and name in unique_then and name in unique_now
    }
    found = [label if label in output_of else by_name.get(name) for label, name in zip(labels, names, strict=True)]
    pairs = [(now, then) for now, then in zip(labels, found, strict=True) if then is not None]
    known = {then for _, then in pairs}
    return ClassMatch(
        rows=tuple(None if then is None else output_of[then] for then in found),
        kept=tuple(now for now, _ in pairs),
        new=tuple(now for now, then in zip(labels, found, strict=True) if then is None),
        dropped=tuple(label for label in model_labels if label not in known),
        renamed={now: then for now, then in pairs if now != then},
    )


def _unique(names: Sequence[str]) -> set[str]:
    return {name for name, count in Counter(names).items() if count == 1}
