"""Search for the best hyperparameters."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any, ClassVar

from breedclf.api.search_setup import studies_folder
from breedclf.api.tuning import TuningJob
from breedclf.jobs import Backend, PlanningBackend
from breedclf.jobs.plan import Plan
from breedclf.journey.record import Figure, Outcome
from breedclf.journey.step import Alone, JourneyContext, Step
from breedclf.journey.steps.backbones import learned, training_with_backbone
from breedclf.journey.steps.shown import (
    backend_flag,
    backend_python,
    command,
    config_python,
    settings_shown,
    space_flags,
    space_python,
)
from breedclf.tuning.confirmation import Confirmation
from breedclf.tuning.native import NativeTuning
from breedclf.tuning.study import StudyFolder
from breedclf.tuning.table import value_text

_CONFIRM_SEEDS = 5


class Tune(Step):
    """Try every combination of the search space."""

    name = "tune"
    title = "Search hyperparameters"
    needs: ClassVar[tuple[str, ...]] = ("backbones",)
    files: ClassVar[tuple[str, ...]] = ("tuning", "tuning.html")

    def inputs(self, context: JourneyContext) -> Mapping[str, Any]:
        settings = context.settings
        return {
            "training": learned(training_with_backbone(context)),
            "space": space_flags(settings.space),
            "strategy": settings.search_strategy,
            "max_jobs": settings.max_jobs,
            "search_seed": settings.search_seed,
            "weights": settings.weights,
            "confirm_seeds": confirm_seeds_of(context),
            "backend": None if context.backend is None else context.backend.name,
        }

    def intent(self, context: JourneyContext) -> Mapping[str, Any]:
        """The name of the search: that of an interrupted one with the same inputs, or a new one."""
        before = context.record.step(self.name)
        if before is not None and before.status in ("InProgress", "Failed") and not context.repeated:
            name = before.outcome.values["name"]
            study = _study_folder(context, name)
            failed = study.exists() and study.load().status == "Failed"
            if not failed and not self.changes(context, before.inputs):
                return {"name": name}
        return {"name": f"journey-{secrets.token_hex(6)}"}

    def run(self, context: JourneyContext) -> Outcome:
        tuning = _run_to_its_end(context)
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

    def cost(self, context: JourneyContext) -> Plan | None:
        return _new_search(context, "journey-plan").plan() if isinstance(context.backend, PlanningBackend) else None

    def alone(self, context: JourneyContext) -> Alone:
        settings, training = context.settings, training_with_backbone(context)
        given: dict[str, object] = {"strategy": settings.search_strategy, "seed": settings.search_seed}
        if settings.max_jobs is not None:
            given["max_jobs"] = settings.max_jobs
        if seeds := confirm_seeds_of(context):
            given["confirm_seeds"] = seeds
        if is_packed(context.backend):
            given["packed"] = True
        weights = f", weights={settings.weights!r}" if settings.weights else ""
        words = ", ".join(f"{name}={value!r}" for name, value in given.items())
        given["search_seed"] = given.pop("seed")
        files = [word for name, file in settings.weights.items() for word in ("--weights", f"{name}={file}")]
        shown = {name: value for name, value in settings_shown(training).items() if name not in settings.space}
        flags = {**space_flags(settings.space), **given, **shown, **backend_flag(context.backend)}
        return Alone(
            f"TuningJob({config_python(training)}, {space_python(settings.space)}, {training.objective!r}, {words}"
            f"{weights}{backend_python(context.backend)}).run().wait()",
            command("breedclf", "tune", settings.data, *files, flags=flags),
        )


def is_packed(backend: Backend | None) -> bool:
    """Whether a search is one job: where jobs run, and the backend has no searches of its own."""
    return backend is not None and not isinstance(backend, NativeTuning)


def search_of(context: JourneyContext) -> TuningJob:
    """The search of this journey.

    Raises:
        ConfigError: its folder was deleted.
    """
    return TuningJob.attach(context.found("tune")["name"], backend=context.backend, home=context.folder)


def _study_folder(context: JourneyContext, name: str) -> StudyFolder:
    return StudyFolder(studies_folder(context.backend, context.folder) / name)


def _run_to_its_end(context: JourneyContext) -> TuningJob:
    name = context.found("tune")["name"]
    if _study_folder(context, name).exists():
        return search_of(context).wait()
    return _new_search(context, name).run().wait()


def _new_search(context: JourneyContext, name: str) -> TuningJob:
    settings = context.settings
    return TuningJob(
        training_with_backbone(context),
        settings.space,
        settings.training.objective,
        strategy=settings.search_strategy,
        max_jobs=settings.max_jobs,
        confirm_seeds=confirm_seeds_of(context),
        seed=settings.search_seed,
        backend=context.backend,
        packed=is_packed(context.backend),
        name=name,
        home=context.folder,
        weights=settings.weights or None,
    )


def confirm_seeds_of(context: JourneyContext) -> int:
    """How many other seeds the best trials are run with.

    None by default as jobs, which take too long, and with random weights, where each seed is another network.
    """
    settings = context.settings
    if settings.confirm_seeds is not None:
        return settings.confirm_seeds
    is_quick = context.backend is None and training_with_backbone(context).weights.lower() != "none"
    return _CONFIRM_SEEDS if is_quick else 0


def _confirmed(confirmation: Confirmation | None) -> str:
    """What the runs with other seeds say, as a sentence."""
    if confirmation is None:
        return ""
    seeds, level = len(confirmation.seeds), len(confirmation.level_with)
    if level == 0:
        return f" With {seeds} other seeds, it is significantly better than the next {len(confirmation.trials) - 1}."
    others = "one other trial is" if level == 1 else f"{level} other trials are"
    return f" With {seeds} other seeds, {others} level with it: the difference may be chance."
