"""Evaluate the model on the test split."""

from __future__ import annotations

from typing import ClassVar

from breedclf.evaluation.evaluate import evaluate
from breedclf.journey.record import Figure, Outcome
from breedclf.journey.step import Alone, JourneyContext, Step
from breedclf.journey.steps.best import model_of
from breedclf.journey.steps.shown import command, settings_shown

_SETTINGS = ("labels", "on_bad_image", "cache_dir", "feature_cache", "feature_store", "verify_files")


class Evaluate(Step):
    """Measure the accuracy on images that took no part in training."""

    name = "evaluate"
    title = "Evaluate"
    needs: ClassVar[tuple[str, ...]] = ("best",)
    files: ClassVar[tuple[str, ...]] = ("evaluation/metrics.json", "evaluation/report.html")
    needs_images = True

    def run(self, context: JourneyContext) -> Outcome:
        output = context.folder / "evaluation"
        given = settings_shown(context.settings.training, only=_SETTINGS)
        found = evaluate(model_of(context), context.settings.data, output=output, **given)
        low, high = found.accuracy_interval
        return Outcome(
            headline=f"{found.accuracy:.1%} of {found.count:,} test images are correct "
            f"(95% interval {low:.1%} to {high:.1%}).",
            values={
                "accuracy": found.accuracy,
                "accuracy_interval": [low, high],
                "count": found.count,
                "most_frequent": max(each.support for each in found.per_class) / found.count,
            },
            figures=(Figure(label="Test accuracy", value=f"{found.accuracy:.1%}", note=f"{low:.1%} to {high:.1%}"),),
            report=context.shown(output / "report.html"),
        )

    def alone(self, context: JourneyContext) -> Alone:
        model, data = str(model_of(context)), str(context.settings.data)
        given = {
            "output": str(context.folder / "evaluation"),
            **settings_shown(context.settings.training, only=_SETTINGS),
        }
        words = ", ".join(f"{name}={value!r}" for name, value in given.items())
        return Alone(
            f"evaluate({model!r}, {data!r}, {words})", command("breedclf", "evaluate", model, data, flags=given)
        )
