"""Compare backbones, if candidates are given; the search uses the best."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from breedclf.config import TrainingConfig
from breedclf.config.base import Decides, fields_that_decide
from breedclf.journey.dataset import dataset_files
from breedclf.journey.record import Figure, Outcome
from breedclf.journey.settings import plain
from breedclf.journey.step import Alone, JourneyContext, Step
from breedclf.journey.steps.shown import command, config_python, settings_shown

_LEARNED = fields_that_decide(
    TrainingConfig, Decides.IMAGES, Decides.START, Decides.LEARNING, Decides.LENGTH, Decides.CHOICE
)
_FLAGS = (
    "epochs", "batch_size", "learning_rate", "optimizer", "momentum", "weight_decay", "schedule", "warmup_epochs",
    "head", "label_smoothing", "class_weights", "mixup", "seed", "labels", "on_bad_image", "valid_share", "test_share",
    "split_seed", "dct_scaling", "accept_license", "cache_dir", "feature_store", "device", "precision",
)  # fmt: skip


class Backbones(Step):
    """Find the backbone by measurement."""

    name = "backbones"
    title = "Compare backbones"
    needs: ClassVar[tuple[str, ...]] = ("check",)

    def inputs(self, context: JourneyContext) -> Mapping[str, Any]:
        settings = context.settings
        if not settings.candidates:
            return {"candidates": []}
        return {
            "candidates": list(settings.candidates),
            "budget_seconds": settings.budget_seconds,
            "weights": settings.weights,
            "training": learned(settings.training),
        }

    def run(self, context: JourneyContext) -> Outcome:
        settings = context.settings
        if not settings.candidates:
            return Outcome(headline=f"Not asked for: {settings.training.architecture} is used.", status="Skipped")
        if not context.has_images:
            return Outcome(headline="Skipped: the images are in S3, not on this machine.", status="Skipped")
        from breedclf.backbones.compare import compare_backbones

        found = compare_backbones(
            settings.training, settings.candidates, budget_seconds=settings.budget_seconds, weights=settings.weights
        )
        report = context.folder / "backbones.html"
        found.report(report)
        return Outcome(
            headline=f"{found.best.name} is used: {found.best.accuracy:.1%} of {found.images:,} images are correct.",
            values={"best": found.best.name, **found.to_dict()},
            figures=(Figure(label="Backbone", value=found.best.name),),
            report=context.shown(report),
        )

    def alone(self, context: JourneyContext) -> Alone:
        settings = context.settings
        names = list(settings.candidates) or [settings.training.architecture]
        weights = [word for name, file in settings.weights.items() for word in ("--weights", f"{name}={file}")]
        flags = {"candidates": ",".join(names), **settings_shown(settings.training, only=_FLAGS)}
        if "weights" in settings.training.model_fields_set:
            flags["weights"] = settings.training.weights
        if settings.budget_seconds is not None:
            flags["budget"] = f"{settings.budget_seconds:g}s"
        shown = f", weights={settings.weights!r}" if settings.weights else ""
        return Alone(
            f"compare_backbones({config_python(settings.training)}, {names!r}{shown})",
            command("breedclf", "backbones", "compare", settings.data, *weights, flags=flags),
        )


def learned(training: TrainingConfig) -> dict[str, Any]:
    """The settings that affect what is learned, and whether a file of weights changed."""
    values = {name: value for name, value in plain(training).items() if name in _LEARNED and name != "data"}
    weights = Path(training.weights)
    return {**values, "weights_file": dataset_files(weights).digest if weights.is_file() else ""}


def training_with_backbone(context: JourneyContext) -> TrainingConfig:
    """The training settings with the backbone that was found to be the best, and its weights."""
    settings = context.settings
    best = context.found("backbones").get("best", settings.training.architecture)
    changes: dict[str, Any] = {} if best == settings.training.architecture else {"architecture": best}
    if best in settings.weights:
        changes["weights"] = settings.weights[best]
    return settings.training.replace(**changes) if changes else settings.training
