"""Check the dataset."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from breedclf.data_check import check
from breedclf.data_check.result import FATAL, FATAL_UNLESS_SKIPPED, DatasetCheck
from breedclf.errors import DataError
from breedclf.files.s3_uri import is_s3
from breedclf.journey.dataset import dataset_stat
from breedclf.journey.figures import example_images
from breedclf.journey.record import Figure, Outcome
from breedclf.journey.step import Alone, JourneyContext, Step


class Check(Step):
    """Decode every image, and stop at what would stop training."""

    name = "check"
    title = "Check the dataset"

    def inputs(self, context: JourneyContext) -> Mapping[str, Any]:
        training = context.settings.training
        return {
            "data": str(training.data),
            "labels": str(training.labels),
            "files": dataset_stat(context.settings.data),
        }

    def run(self, context: JourneyContext) -> Outcome:
        training = context.settings.training
        if is_s3(context.settings.data):
            return Outcome(headline="The dataset is in S3 and was not checked.", status="Skipped")
        found = check(context.settings.data, labels=training.labels, cache_dir=training.cache_dir, quiet=True)
        _refuse(found, skips=training.on_bad_image == "skip")
        problems = f"{len(found.problems):,} problems" if found.problems else "no problems"
        return Outcome(
            headline=f"{found.images:,} images of {len(found.classes):,} classes, {problems}.",
            values={**found.to_dict(), "examples": example_images(training)},
            figures=(
                Figure(label="Images", value=f"{found.images:,}"),
                Figure(label="Classes", value=f"{len(found.classes):,}"),
                Figure(label="Problems", value=f"{len(found.problems):,}"),
            ),
        )

    def alone(self, context: JourneyContext) -> Alone:
        data = str(context.settings.data)
        return Alone(f"breedclf.check({data!r})", f"breedclf data check {shlex.quote(data)}")


def _refuse(found: DatasetCheck, *, skips: bool) -> None:
    """Stop at a problem that would stop training.

    Raises:
        DataError: there is one.
    """
    for problem in found.problems:
        if problem.kind in FATAL or (problem.kind in FATAL_UNLESS_SKIPPED and not skips):
            raise DataError(f"{found.folder} can't be used: {problem.path or problem.kind}: {problem.detail}")
