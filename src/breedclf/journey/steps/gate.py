"""Decide whether the model may be deployed."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from breedclf.errors import ConfigError
from breedclf.journey.record import Figure, Outcome
from breedclf.journey.settings import plain
from breedclf.journey.step import Alone, JourneyContext, Step
from breedclf.journey.steps.best import model_of
from breedclf.model_store.compare import compare_models
from breedclf.model_store.comparison import ModelComparison
from breedclf.model_store.gate import gate_checks
from breedclf.model_store.records import LIVE, PREVIOUS
from breedclf.model_store.store import ModelStore


class GateStep(Step):
    """Compare the accuracy with the baseline and with the live model, and check the size."""

    name = "gate"
    title = "Gate"
    needs = ("best", "evaluate")

    def inputs(self, context: JourneyContext) -> Mapping[str, Any]:
        return {"gate": plain(context.settings.gate), "live": _live(context)}

    def run(self, context: JourneyContext) -> Outcome:
        model, measured = model_of(context), context.found("evaluate")
        low, high = measured.get("accuracy_interval", (0.0, 1.0))
        checks = gate_checks(
            context.settings.gate,
            accuracy=(measured["accuracy"], low, high) if measured else None,
            most_frequent=measured.get("most_frequent", 0.0),
            megabytes=sum(file.stat().st_size for file in model.iterdir()) / 1e6,
            against_live=_against_live(context),
        )
        failed = [check for check in checks if not check.passed]
        live = _live(context)
        stays = f"Version {live} stays live." if live else "No model is live."
        return Outcome(
            headline=f"The gate refuses the model: {failed[0].detail}. {stays}" if failed else "The model passes.",
            values={"checks": [check.to_dict() for check in checks]},
            figures=tuple(
                Figure(label=check.name, value="passed" if check.passed else "refused", note=check.detail)
                for check in checks
            ),
            status="Refused" if failed else "Completed",
        )

    def alone(self, context: JourneyContext) -> Alone:
        settings = context.settings
        return Alone(
            f"ModelStore({str(settings.store)!r}).promote({settings.model_name!r}, version, data=...)",
            f"breedclf models promote {settings.model_name} VERSION --store {shlex.quote(str(settings.store))}",
        )


def _live(context: JourneyContext) -> int | None:
    """The version that is live, or was before this very model became it."""
    try:
        record = ModelStore(context.settings.store).record(context.settings.model_name)
        live = record.aliases.get(LIVE)
        is_this = live is not None and live == context.found("register").get("version")
        return record.aliases.get(PREVIOUS) if is_this else live
    except ConfigError:
        return None


def _against_live(context: JourneyContext) -> ModelComparison | None:
    settings = context.settings
    live = _live(context)
    if live is None or not context.has_images:
        return None
    folder = ModelStore(settings.store).model_directory(settings.model_name, live)
    names = f"live version {live}", "this model"
    return compare_models(folder, model_of(context), settings.data, names=names, labels=settings.training.labels)
