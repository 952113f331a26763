"""Classes by the name that a user writes."""

from __future__ import annotations

from dataclasses import dataclass

from breedclf.config.architectures import nearest_names
from breedclf.errors import ConfigError
from breedclf.text.printable import visible_name


@dataclass(frozen=True)
class ClassNames:
    """The classes of a model, in the order of its outputs."""

    labels: tuple[str, ...]
    class_names: tuple[str, ...]

    def index(self, name: str) -> int:
        """The position of a class by its label or by the name that is shown.

        Raises:
            ConfigError: there is none, or several are shown by that name.
        """
        if name in self.labels:
            return self.labels.index(name)
        found = [index for index, shown in enumerate(self.class_names) if shown == name]
        if len(found) > 1:
            labels = ", ".join(visible_name(self.labels[index]) for index in found)
            raise ConfigError(f"class_name={name!r}: {len(found)} classes have this name; use a label: {labels}")
        if not found:
            near = nearest_names(str(name), list(dict.fromkeys(self.class_names)))
            raise ConfigError(f"class_name={name!r}: the model has no such class; {visible_name(near)}")
        return found[0]
