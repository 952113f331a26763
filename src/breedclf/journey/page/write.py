"""Writes the page: gathers what the steps left behind, and renders it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from breedclf._version import __version__
from breedclf.api.tuning import TuningJob
from breedclf.data.split import ImageFiles
from breedclf.data.thumbnails import thumbnail
from breedclf.errors import BreedclfError
from breedclf.evaluation.metrics import Evaluation
from breedclf.files.disk import write_atomic, write_output
from breedclf.journey.figures import ExampleImage, ExplainedImage, SuspectImage, parsed
from breedclf.journey.page.material import Material
from breedclf.journey.page.quality import MOST_WORST
from breedclf.journey.page.story import journey_page
from breedclf.journey.step import JourneyContext
from breedclf.model_store.store import ModelStore

Found = TypeVar("Found")

_THUMBNAILS = ".thumbnails"
_THUMBNAIL_PX = 208
_LARGEST_JPEG = 60_000


def write_page(path: Path, context: JourneyContext) -> None:
    """Write the page; what a step left behind and is gone is left out.

    Raises:
        DiskError: the disk refuses.
    """
    write_output(path, journey_page(context.record, gathered(context), made_by=f"breedclf {__version__}"))


def gathered(context: JourneyContext) -> Material:
    """Read the files of the steps, and make small copies of the images that the page shows."""
    settings = context.settings
    evaluation = _if_readable(lambda: _evaluation(context.folder / "evaluation" / "metrics.json"))
    name = str(context.found("tune").get("name", ""))
    registered = context.record.step("register") is not None
    return Material(
        name=settings.model_name,
        data=str(settings.data),
        study=_if_readable(lambda: TuningJob.look(name, home=context.folder)) if name else None,
        evaluation=evaluation if context.record.step("evaluate") else None,
        model=_if_readable(lambda: ModelStore(settings.store).record(settings.model_name)) if registered else None,
        jpegs=dict(_jpegs(context, evaluation)),
    )


def _evaluation(file: Path) -> Evaluation:
    return Evaluation.model_validate_json(file.read_bytes())


def _if_readable(read: Callable[[], Found]) -> Found | None:
    """What a function reads; None if the file is gone, damaged, or of another version."""
    try:
        return read()
    except (BreedclfError, OSError, ValueError):
        return None


def _jpegs(context: JourneyContext, evaluation: Evaluation | None) -> Iterator[tuple[str, bytes]]:
    data = context.settings.data
    root = data if data.is_dir() else data.parent
    for name in _image_names(context, evaluation):
        if (jpeg := _small_copy(context.folder, _found(name, root))) is not None:
            yield name, jpeg
    for answer in context.found("predict").get("images", ()):
        for explained in parsed(ExplainedImage, [answer.get("explanation")]):
            if (jpeg := _if_readable((context.folder / explained.file).read_bytes)) and len(jpeg) <= _LARGEST_JPEG:
                yield explained.file, jpeg


def _found(name: str, root: Path) -> Path:
    """The file of an image, whose name is relative to the dataset, or to the working directory as the dataset is."""
    return inside if (inside := root / name).is_file() else Path(name)


def _image_names(context: JourneyContext, evaluation: Evaluation | None) -> Iterator[str]:
    yield from (each.path for each in parsed(ExampleImage, context.found("check").get("examples")))
    yield from (each.path for each in parsed(SuspectImage, context.found("review").get("first")))
    yield from (str(each.get("path", "")) for each in context.found("predict").get("images", ()))
    if evaluation is not None:
        yield from (each.path for each in evaluation.worst[:MOST_WORST])


def _small_copy(folder: Path, image: Path) -> bytes | None:
    """A small JPEG of an image, made once and stored in the journey's folder; None if the image can't be read."""
    try:
        stat = os.stat(image)  # noqa: PTH116 - as for the digest of the dataset
        key = hashlib.sha256(f"{image}\0{stat.st_size}\0{stat.st_mtime_ns}\0{_THUMBNAIL_PX}".encode()).hexdigest()[:24]
        stored = folder / _THUMBNAILS / f"{key}.jpg"
        if stored.is_file():
            return stored.read_bytes()
        jpeg = thumbnail(ImageFiles((image,)), 0, _THUMBNAIL_PX)
        stored.parent.mkdir(exist_ok=True)
        write_atomic(stored, jpeg)
    except (BreedclfError, OSError, ValueError):
        return None
    return jpeg
