"""Compare backbones, if candidates are given; the search uses the best."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from breedclf.config import TrainingConfig
from breedclf.journey.record import Figure, Outcome
from breedclf.journey.step import Alone, JourneyContext, Step


class Backbones(Step):
    """Find the backbone by measurement."""

    name = "backbones"
    title = "Compare backbones"

    def inputs(self, context: JourneyContext) -> Mapping[str, Any]:
        settings = context.settings
        return {"candidates": settings.candidates, "budget": settings.budget_seconds}

    def run(self, context: JourneyContext) -> Outcome:
        from breedclf.backbones.compare import compare_backbones

        settings = context.settings
        if not settings.candidates:
            return Outcome(headline=f"Not asked for: {settings.training.architecture} is used.", status="Skipped")
        found = compare_backbones(settings.training, settings.candidates, budget_seconds=settings.budget_seconds)
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
        data, names = str(settings.data), list(settings.candidates)
        return Alone(
            f"breedclf.compare_backbones(TrainingConfig(data={data!r}), {names!r})",
            f"breedclf backbones compare {shlex.quote(data)} --candidates {shlex.quote(','.join(names))}",
        )


def training_with_backbone(context: JourneyContext) -> TrainingConfig:
    """The training settings with the backbone that was found to be the best."""
    best = context.found("backbones").get("best")
    training = context.settings.training
    return training if best is None or best == training.architecture else training.replace(architecture=best)
