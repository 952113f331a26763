"""Search for the best hyperparameters."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from breedclf.api.tuning import TuningJob
from breedclf.errors import ConfigError
from breedclf.journey.record import Figure, Outcome, inputs_digest
from breedclf.journey.settings import plain
from breedclf.journey.step import Alone, JourneyContext, Step
from breedclf.journey.steps.backbones import training_with_backbone
from breedclf.tuning.confirmation import Confirmation
from breedclf.tuning.table import value_text

_CONFIRM_SEEDS = 5


class Tune(Step):
    """Try every combination of the search space."""

    name = "tune"
    title = "Search hyperparameters"
    files = ("tuning", "tuning.html")

    def inputs(self, context: JourneyContext) -> Mapping[str, Any]:
        settings = context.settings
        return {
            "training": plain(training_with_backbone(context)),
            "space": {name: each.model_dump(mode="json") for name, each in settings.space.items()},
            "max_jobs": settings.max_jobs,
            "confirm_seeds": confirm_seeds_of(context),
            "backend": None if context.backend is None else context.backend.name,
        }

    def run(self, context: JourneyContext) -> Outcome:
        tuning = search_of(context)
        study = tuning.study
        report = tuning.report(context.folder / "tuning.html")
        best = tuning.best
        values = ", ".join(f"{name} {value_text(value)}" for name, value in best.hyperparameters.items())
        return Outcome(
            headline=f"The best of {len(study.trials)} trials: {values}.{_confirmed(study.confirmation)}",
            values={
                "name": tuning.name,
                "trials": len(study.trials),
                "best": {
                    "name": best.name,
                    "hyperparameters": best.hyperparameters,
                    "objective": best.objective,
                    "metrics": best.metrics,
                    **({} if best.level_with is None else {"level_with": list(best.level_with)}),
                },
                **({} if study.confirmation is None else {"confirmation": study.confirmation.to_dict()}),
            },
            figures=(
                Figure(label="Trials", value=str(len(study.trials))),
                Figure(label=study.request.objective, value=f"{best.objective:.4f}", note=values),
            ),
            report=context.shown(report),
        )

    def alone(self, context: JourneyContext) -> Alone:
        data = str(context.settings.data)
        space = " ".join(
            f"--{name.replace('_', '-')} {','.join(value_text(each) for each in getattr(given, 'values', ()))}"
            for name, given in context.settings.space.items()
        )
        seeds = confirm_seeds_of(context)
        argument, again = (f", confirm_seeds={seeds}", f" --confirm-seeds {seeds}") if seeds else ("", "")
        return Alone(
            f"TuningJob(TrainingConfig(data={data!r}), space, strategy='grid'{argument}).run().wait()",
            f"breedclf tune {shlex.quote(data)} --strategy grid {space}{again}",
        )


def search_of(context: JourneyContext) -> TuningJob:
    """The search of these inputs, run to its end; one that was interrupted continues."""
    settings = context.settings
    name = f"journey-{inputs_digest(Tune().inputs(context))}"
    home = _home(context)
    try:
        return TuningJob.attach(name, backend=context.backend, home=home).wait()
    except ConfigError:
        if (home / name).exists():
            raise
    return (
        TuningJob(
            training_with_backbone(context),
            settings.space,
            settings.training.objective,
            strategy="grid",
            max_jobs=settings.max_jobs,
            confirm_seeds=confirm_seeds_of(context),
            backend=context.backend,
            name=name,
            home=home,
        )
        .run()
        .wait()
    )


def confirm_seeds_of(context: JourneyContext) -> int:
    """How many other seeds the best trials are run with; as jobs, these runs take too long to be the default."""
    given = context.settings.confirm_seeds
    return (_CONFIRM_SEEDS if context.backend is None else 0) if given is None else given


def _confirmed(confirmation: Confirmation | None) -> str:
    """What the runs with other seeds say, as a sentence."""
    if confirmation is None:
        return ""
    seeds, level = len(confirmation.seeds), len(confirmation.level_with)
    if level == 0:
        return f" With {seeds} other seeds, it is significantly better than the next {len(confirmation.trials) - 1}."
    others = "one other trial is" if level == 1 else f"{level} other trials are"
    return f" With {seeds} other seeds, {others} level with it: the difference may be chance."


def _home(context: JourneyContext) -> Path:
    return context.folder / "tuning"
