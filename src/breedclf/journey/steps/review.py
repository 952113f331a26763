"""Review the labels of the dataset."""

from __future__ import annotations

import shlex

from breedclf.journey.figures import suspect_images
from breedclf.journey.record import Figure, Outcome
from breedclf.journey.step import Alone, JourneyContext, Step
from breedclf.journey.steps.backbones import training_with_backbone
from breedclf.label_review.review import review


class Review(Step):
    """Find wrong labels, near duplicates and outliers."""

    name = "review"
    title = "Review the labels"
    files = ("review.html",)

    def run(self, context: JourneyContext) -> Outcome:
        found = review(training_with_backbone(context))
        report = context.folder / "review.html"
        found.report(report)
        suspects = "labels aren't reviewed" if found.refused else f"{len(found.suspects)} suspicious labels"
        return Outcome(
            headline=f"{suspects[0].upper()}{suspects[1:]}, {len(found.near_duplicates)} groups of near duplicates, "
            f"{len(found.outliers)} outliers.",
            values={
                "suspects": len(found.suspects),
                "near_duplicates": len(found.near_duplicates),
                "outliers": len(found.outliers),
                "refused": found.refused,
                "first": suspect_images(found),
            },
            figures=(Figure(label="Suspicious labels", value="–" if found.refused else str(len(found.suspects))),),
            report=context.shown(report),
        )

    def alone(self, context: JourneyContext) -> Alone:
        data = str(context.settings.data)
        return Alone(f"breedclf.review(TrainingConfig(data={data!r}))", f"breedclf data review {shlex.quote(data)}")
