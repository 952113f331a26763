"""Take the model of the best trial."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from breedclf.api.model_files import place_model
from breedclf.config import TrainingConfig
from breedclf.journey.figures import epochs_of
from breedclf.journey.record import Outcome
from breedclf.journey.result import MODEL_FOLDER
from breedclf.journey.step import Alone, JourneyContext, Step
from breedclf.journey.steps.backbones import training_with_backbone
from breedclf.journey.steps.shown import backend_flag, backend_python, command
from breedclf.journey.steps.tune import search_of
from breedclf.model_store.folder import digest_of, sha256_of
from breedclf.model_store.lineage import card_of, files_of
from breedclf.tuning.space import with_weights


class Best(Step):
    """Put the model directory of the best trial in place."""

    name = "best"
    title = "Take the best model"
    needs: ClassVar[tuple[str, ...]] = ("tune",)
    files: ClassVar[tuple[str, ...]] = ("model/breedclf.json",)

    def run(self, context: JourneyContext) -> Outcome:
        best = search_of(context).best
        artifact = best.artifact
        model = place_model(artifact, model_of(context))
        digest = digest_of(sha256_of(model, files_of(model, card_of(model))))
        values = {"model": str(model), "digest": digest, "epochs": epochs_of(artifact.parent)}
        return Outcome(headline=f"The model of {best.name} is in {context.shown(model)}.", values=values)

    def alone(self, context: JourneyContext) -> Alone:
        name, home = context.found("tune")["name"], str(context.folder)
        resumed = command("breedclf", "tune", flags={"resume": name, **backend_flag(context.backend)})
        return Alone(
            f"TuningJob.attach({name!r}, home={home!r}{backend_python(context.backend)}).best.artifact",
            f"BREEDCLF_HOME={command(home)} {resumed}",
        )


def model_of(context: JourneyContext) -> Path:
    """The model directory of the journey."""
    return context.folder / MODEL_FOLDER


def best_training(context: JourneyContext) -> TrainingConfig:
    """The settings of the best trial."""
    values = context.found("tune")["best"]["hyperparameters"]
    return training_with_backbone(context).replace(**with_weights(values, context.settings.weights))
