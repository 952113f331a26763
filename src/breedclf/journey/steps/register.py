"""Add the model to the store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from breedclf.errors import BreedclfError
from breedclf.journey.record import Figure, Outcome
from breedclf.journey.step import Alone, JourneyContext, Step
from breedclf.journey.steps.best import model_of
from breedclf.journey.steps.shown import command
from breedclf.model_store.store import ModelStore


class Register(Step):
    """Store the model as the next version, with its lineage."""

    name = "register"
    title = "Register"
    needs: ClassVar[tuple[str, ...]] = ("best", "gate")

    def inputs(self, context: JourneyContext) -> Mapping[str, Any]:
        return {"store": str(context.settings.store), "name": context.settings.model_name}

    def run(self, context: JourneyContext) -> Outcome:
        settings = context.settings
        tuned = context.found("tune")
        version = ModelStore(settings.store).add(
            model_of(context),
            name=settings.model_name,
            tuning_job=tuned.get("name"),
            trial=tuned.get("best", {}).get("name"),
            profile=str(context.folder / "profile"),
            evaluation=str(context.folder / "evaluation"),
            journey=str(context.folder),
        )
        return Outcome(
            headline=f"It is version {version.version} of {settings.model_name} in {settings.store}.",
            values={"name": settings.model_name, "version": version.version, "digest": version.digest},
            figures=(Figure(label="Version", value=f"{settings.model_name} {version.version}"),),
        )

    def is_intact(self, context: JourneyContext, outcome: Outcome) -> bool:
        try:
            store = ModelStore(context.settings.store)
            return store.model_directory(outcome.values["name"], outcome.values["version"]).is_dir()
        except (BreedclfError, KeyError):
            return False

    def alone(self, context: JourneyContext) -> Alone:
        settings, model = context.settings, str(model_of(context))
        store = str(settings.store)
        return Alone(
            f"ModelStore({store!r}).add({model!r}, name={settings.model_name!r})",
            command("breedclf", "models", "add", settings.model_name, model, flags={"store": store}),
        )
