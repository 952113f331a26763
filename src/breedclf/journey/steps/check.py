"""Check the dataset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from breedclf.api.network_check import check_network
from breedclf.data_check import check
from breedclf.data_check.result import FATAL, FATAL_UNLESS_SKIPPED, DatasetCheck
from breedclf.errors import DataError
from breedclf.files.s3_uri import whole_uri
from breedclf.journey.dataset import FileList, dataset_files
from breedclf.journey.figures import example_images
from breedclf.journey.record import Figure, Outcome
from breedclf.journey.settings import JourneySettings
from breedclf.journey.step import Alone, JourneyContext, Step
from breedclf.journey.steps.shown import command
from breedclf.tuning.space import Categorical, with_weights


class Check(Step):
    """Decode every image, and stop at what would stop training, such as weights that aren't there."""

    name = "check"
    title = "Check the dataset"
    needs_images = True

    def inputs(self, context: JourneyContext) -> Mapping[str, Any]:
        training = context.settings.training
        return {
            "dataset": whole_uri(context.settings.data),
            "labels": None if training.labels is None else str(training.labels),
            "files": dataset_files(context.settings.data).digest,
            "on_bad_image": training.on_bad_image,
        }

    def changes(self, context: JourneyContext, before: Mapping[str, Any]) -> tuple[str, ...]:
        now = self.inputs(context)
        found = super().changes(context, before)
        if before.get("dataset") != now["dataset"]:
            return tuple(part for part in found if not part.startswith("files ("))
        if before.get("files") == now["files"]:
            return found
        changed = FileList.load(context.folder).difference(dataset_files(context.settings.data))
        return tuple(f"{changed} of the dataset" if part.startswith("files (") else part for part in found)

    def run(self, context: JourneyContext) -> Outcome:
        training = context.settings.training
        _check_networks(context.settings)
        dataset_files(context.settings.data).save(context.folder)
        found = check(context.settings.data, labels=training.labels, cache_dir=training.cache_dir, quiet=True)
        _refuse(found, skips=training.on_bad_image == "skip")
        _require_test_images(found)
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
        data, labels = str(context.settings.data), context.settings.training.labels
        shown = "" if labels is None else f", labels={str(labels)!r}"
        return Alone(f"check({data!r}{shown})", command("breedclf", "data", "check", data, flags={"labels": labels}))


def _check_networks(settings: JourneySettings) -> None:
    """Check that each network of later steps exists, with its weights.

    Raises:
        ConfigError: there is no such network, or it has no such stage to train.
        MissingExtraError: a network is timm's, and timm isn't installed.
        WeightsError: there are no such weights, or their license binds and isn't accepted.
    """
    searched = settings.space.get("architecture")
    names = (
        *(settings.candidates or (settings.training.architecture,)),
        *(searched.values if isinstance(searched, Categorical) else ()),
    )
    for name in dict.fromkeys(map(str, names)):
        check_network(settings.training.replace(**with_weights({"architecture": name}, settings.weights)))


def _refuse(found: DatasetCheck, *, skips: bool) -> None:
    """Stop at a problem that would stop training.

    Raises:
        DataError: there is one.
    """
    for problem in found.problems:
        if problem.kind in FATAL or (problem.kind in FATAL_UNLESS_SKIPPED and not skips):
            raise DataError(f"{found.folder} can't be used: {problem.path or problem.kind}: {problem.detail}")


def _require_test_images(found: DatasetCheck) -> None:
    """Stop before the search if there is nothing to evaluate the best model on.

    Raises:
        DataError: the dataset is divided into splits, and none is called test.
    """
    if "train" in found.splits and not found.splits.get("test"):
        raise DataError(
            f"{found.folder} has no test split, which a journey evaluates its model on; its splits are "
            f"{', '.join(found.splits)}: move some images of each class into test"
        )
