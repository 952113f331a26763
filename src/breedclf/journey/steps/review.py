"""Review the labels of the dataset."""

from __future__ import annotations

from typing import ClassVar

from breedclf.journey.figures import suspect_images
from breedclf.journey.record import Figure, Outcome
from breedclf.journey.step import Alone, JourneyContext, Step
from breedclf.journey.steps.backbones import training_with_backbone
from breedclf.journey.steps.shown import command, config_python, settings_shown
from breedclf.label_review.review import review
from breedclf.text.counts import counted

_FLAGS = (
    "architecture", "weights", "accept_license", "labels", "valid_share", "test_share", "split_seed", "dct_scaling",
    "cache_dir", "feature_cache", "feature_store", "verify_files", "device", "precision",
)  # fmt: skip


class Review(Step):
    """Find wrong labels, near duplicates and outliers."""

    name = "review"
    title = "Review the labels"
    needs: ClassVar[tuple[str, ...]] = ("backbones",)
    files: ClassVar[tuple[str, ...]] = ("review.html",)
    needs_images = True

    def run(self, context: JourneyContext) -> Outcome:
        found = review(training_with_backbone(context))
        report = context.folder / "review.html"
        found.report(report)
        suspects = "labels aren't reviewed" if found.refused else counted(len(found.suspects), "suspicious label")
        return Outcome(
            headline=f"{suspects[0].upper()}{suspects[1:]}, {counted(len(found.near_duplicates), 'group')} "
            f"of near duplicates, {counted(len(found.outliers), 'outlier')}.",
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
        training = training_with_backbone(context)
        flags = settings_shown(training, only=_FLAGS)
        return Alone(
            f"review({config_python(training)}).report('review.html')",
            command("breedclf", "data", "review", context.settings.data, flags=flags),
        )
