"""What the page shows besides the journey's record: parsed files of its steps, and small copies of images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from breedclf.evaluation.metrics import Evaluation
from breedclf.model_store.records import ModelRecord
from breedclf.reporting.blocks import GalleryImage
from breedclf.tuning.study import Study


@dataclass(frozen=True)
class Material:
    """What was found in the journey's folder and in the store; None, or nothing, for what isn't there.

    Args:
        name: of the model.
        data: the dataset.
        study: the search.
        evaluation: on the test split.
        model: what the store knows about the model.
        jpegs: small JPEGs, by the path of the image as in the record.
    """

    name: str
    data: str
    study: Study | None = None
    evaluation: Evaluation | None = None
    model: ModelRecord | None = None
    jpegs: Mapping[str, bytes] = field(default_factory=dict)

    def image(self, path: str, alt: str, lines: Sequence[str]) -> GalleryImage | None:
        """An image with its caption; None if it can't be shown."""
        jpeg = self.jpegs.get(path)
        return None if jpeg is None else GalleryImage(jpeg, alt, lines)


def present(images: Iterable[GalleryImage | None]) -> list[GalleryImage]:
    """The images that can be shown."""
    return [image for image in images if image is not None]
