"""Two models on the same images: whether one is better, and which images they predict differently."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from breedclf.evaluation.paired import LEVEL, equals, mcnemar, paired_difference_interval
from breedclf.evaluation.result import wilson_interval
from breedclf.files.disk import write_output
from breedclf.files.paths import StrPath, user_path
from breedclf.text.html_repr import html_repr

if TYPE_CHECKING:
    from breedclf.config import Device, Precision
    from breedclf.data.split import SplitImages


@dataclass(frozen=True)
class FlippedImage:
    """An image that exactly one of the two models predicts correctly.

    `image` is its path, relative to the dataset; `first` and `second` are the predicted labels.
    """

    image: str
    label: str
    first: str
    second: str

    @property
    def mended(self) -> bool:
        """Whether the second model is the correct one."""
        return self.second == self.label


@dataclass(frozen=True)
class ClassWins:
    """The images of one class that only the first and only the second model predicts correctly."""

    label: str
    count: int
    only_first: int
    only_second: int


@dataclass(frozen=True)
class ComparedImages:
    """What a report needs besides the figures: the two model directories, the names of classes by label, and the
    images, whose shown names start at `root`.
    """

    models: tuple[Path, Path]
    class_names: Mapping[str, str]
    images: SplitImages
    root: Path
    device: Device = "auto"
    precision: Precision = "auto"


@dataclass(frozen=True)
class ModelComparison:
    """Two models, `a` and `b`, on the same images.

    Args:
        a, b: what was compared, as shown to people.
        count: the number of images.
        both, only_a, only_b, neither: how many of them both models, only one, or neither predict correctly.
        p_value: of McNemar's exact test, two-sided: how likely a difference of this size is by chance alone.
        difference: the accuracy of `b` minus that of `a`, from -1 to 1.
        difference_interval: its 95% interval, which accounts for the models' predicting the same images.
        classes: per-class counts, the largest change first.
        flipped: the images that exactly one model predicts correctly.
        skipped: the reasons of unreadable images.
        sources: the models and images; None if there are only figures.
    """

    a: str
    b: str
    count: int
    both: int
    only_a: int
    only_b: int
    neither: int
    p_value: float
    difference: float
    difference_interval: tuple[float, float]
    accuracy_a: float
    accuracy_b: float
    interval_a: tuple[float, float]
    interval_b: tuple[float, float]
    classes: Sequence[ClassWins]
    flipped: Sequence[FlippedImage]
    skipped: Sequence[str] = ()
    sources: ComparedImages | None = field(default=None, repr=False, compare=False)

    @property
    def verdict(self) -> str:
        """The comparison in one line."""
        what = f"{self.only_b} mended, {self.only_a} broken, p {equals(self.p_value)}"
        if self.better is None:
            return f"{self.a} and {self.b} can't be distinguished on {self.count:,} images: {what}"
        return f"{self.better} is better on {self.count:,} images: {what}"

    @property
    def changed_classes(self) -> Sequence[ClassWins]:
        """The classes with images that exactly one model predicts correctly, the largest change first."""
        return [each for each in self.classes if each.only_first or each.only_second]

    @property
    def better(self) -> str | None:
        """The better model as shown to people; None if the difference may be chance."""
        if self.p_value >= LEVEL:
            return None
        return self.b if self.difference > 0 else self.a

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        plain = {name: value for name, value in vars(self).items() if name not in ("classes", "flipped", "sources")}
        return plain | {
            "verdict": self.verdict,
            "classes": [vars(each) for each in self.classes],
            "flipped": [vars(each) | {"mended": each.mended} for each in self.flipped],
        }

    @html_repr
    def _repr_html_(self) -> str:
        from breedclf.model_store.comparison_report import comparison_view

        return comparison_view(self)

    def report(self, path: StrPath, *, explain: bool = True) -> None:
        """Write an HTML report: the verdict, wins by class, and the images that exactly one model predicts correctly.

        With `explain`, it shows what speaks for both answers; up to 24 images pass through both networks again.

        Raises:
            ConfigError: the file can't be written.
            DiskError: the disk is full.
        """
        from breedclf.model_store.comparison_report import comparison_page

        write_output(
            user_path(path, "report"), comparison_page(self, explain=explain), "make room, or choose another --output"
        )


def compared(
    names: tuple[str, str],
    labels: Sequence[str],
    targets: NDArray[np.integer],
    first: NDArray[np.integer],
    second: NDArray[np.integer],
    image_name: Callable[[int], str],
    skipped: Sequence[str] = (),
    sources: ComparedImages | None = None,
) -> ModelComparison:
    """Compare the predictions of two models.

    Args:
        names: the two models, as shown to people.
        labels: of the classes.
        targets: the index of each image's class [N].
        first, second: the indices that the models predict [N].
        image_name: the path of the image at a position, relative to the dataset.
        skipped: the reasons of unreadable images.
        sources: what a report needs besides.

    Raises:
        ValueError: there are no images.
    """
    right_a, right_b = first == targets, second == targets
    both, neither = int((right_a & right_b).sum()), int((~right_a & ~right_b).sum())
    only_a, only_b = int((right_a & ~right_b).sum()), int((~right_a & right_b).sum())
    count = len(targets)
    wins = [
        ClassWins(
            label,
            int((of_class := targets == index).sum()),
            int((of_class & right_a & ~right_b).sum()),
            int((of_class & right_b & ~right_a).sum()),
        )
        for index, label in enumerate(labels)
    ]
    return ModelComparison(
        a=names[0],
        b=names[1],
        count=count,
        both=both,
        only_a=only_a,
        only_b=only_b,
        neither=neither,
        p_value=mcnemar(only_a, only_b),
        difference=(only_b - only_a) / count,
        difference_interval=paired_difference_interval(both, only_a, only_b, neither),
        accuracy_a=(both + only_a) / count,
        accuracy_b=(both + only_b) / count,
        interval_a=wilson_interval(both + only_a, count),
        interval_b=wilson_interval(both + only_b, count),
        classes=tuple(sorted(wins, key=lambda each: (-abs(each.only_second - each.only_first), each.label))),
        flipped=tuple(
            FlippedImage(image_name(i), labels[targets[i]], labels[first[i]], labels[second[i]])
            for i in np.flatnonzero(right_a != right_b).tolist()
        ),
        skipped=tuple(skipped),
        sources=sources,
    )
