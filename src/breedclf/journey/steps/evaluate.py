"""Evaluate the model on the test split."""

from __future__ import annotations

import shlex

from breedclf.evaluation.evaluate import evaluate
from breedclf.journey.record import Figure, Outcome
from breedclf.journey.step import Alone, JourneyContext, Step
from breedclf.journey.steps.best import model_of


class Evaluate(Step):
    """Measure the accuracy on images that took no part in training."""

    name = "evaluate"
    title = "Evaluate"
    files = ("evaluation/metrics.json", "evaluation/report.html")

    def run(self, context: JourneyContext) -> Outcome:
        training = context.settings.training
        found = evaluate(
            model_of(context),
            context.settings.data,
            labels=training.labels,
            output=context.folder / "evaluation",
            on_bad_image=training.on_bad_image,
            cache_dir=training.cache_dir,
        )
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
            report=context.shown(context.folder / "evaluation" / "report.html"),
        )

    def alone(self, context: JourneyContext) -> Alone:
        model, data = str(model_of(context)), str(context.settings.data)
        return Alone(
            f"breedclf.evaluate({model!r}, {data!r})", f"breedclf evaluate {shlex.quote(model)} {shlex.quote(data)}"
        )
