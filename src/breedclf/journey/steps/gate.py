"""Decide whether the model may be deployed."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any, ClassVar

from breedclf.errors import ConfigError
from breedclf.files.disk import write_output
from breedclf.journey.record import Figure, Outcome
from breedclf.journey.settings import plain
from breedclf.journey.step import Alone, JourneyContext, Step
from breedclf.journey.steps.best import model_of
from breedclf.model_store.gate import gate_checks
from breedclf.model_store.gate_figures import GateFigures, gate_figures
from breedclf.model_store.records import PREVIOUS, ModelRecord
from breedclf.model_store.store import ModelStore
from breedclf.text.plain_json import plain_json

COMPARISON = "gate/comparison.json"
REPORT = "gate/report.html"


class GateStep(Step):
    """Compare the accuracy with the baseline and with the live model, and check the model directory and its size."""

    name = "gate"
    title = "Gate"
    needs: ClassVar[tuple[str, ...]] = ("best", "evaluate")

    def inputs(self, context: JourneyContext) -> Mapping[str, Any]:
        return {"gate": plain(context.settings.gate), "live": _compared_with(context)}

    def run(self, context: JourneyContext) -> Outcome:
        model, measured = model_of(context), context.found("evaluate")
        figures = _figures(context) if context.has_images else None
        against = None if figures is None else figures.against_live
        low, high = measured.get("accuracy_interval", (0.0, 1.0))
        checks = gate_checks(
            context.settings.gate,
            accuracy=(measured["accuracy"], low, high) if measured else None,
            most_frequent=measured.get("most_frequent", 0.0),
            megabytes=sum(file.stat().st_size for file in model.iterdir()) / 1e6,
            against_live=against,
            not_compared=_not_compared(context) or ("" if figures is None else figures.not_compared),
            parity=None if figures is None else figures.parity,
        )
        report = None
        if against is not None:
            write_output(context.folder / COMPARISON, plain_json(against.to_dict(), indent=2) + "\n")
            against.report(context.folder / REPORT)
            report = REPORT
        failed = [check for check in checks if not check.passed]
        stays = _stays(_record(context))
        why = "; ".join(f"{check.name}: {check.detail}" for check in failed)
        return Outcome(
            headline=f"The gate refuses the model: {why}. {stays}" if failed else "The model passes.",
            values={"checks": [check.to_dict() for check in checks]},
            figures=tuple(
                Figure(label=check.name, value="passed" if check.passed else "refused", note=check.detail)
                for check in checks
            ),
            report=report,
            status="Refused" if failed else "Completed",
        )

    def alone(self, context: JourneyContext) -> Alone:
        settings = context.settings
        return Alone(
            f"ModelStore({str(settings.store)!r}).promote({settings.model_name!r}, version, data=...)",
            f"breedclf models promote {settings.model_name} VERSION --store {shlex.quote(str(settings.store))}",
        )


def _record(context: JourneyContext) -> ModelRecord | None:
    """The record of the model in the store; None if there is none."""
    try:
        return ModelStore(context.settings.store).record(context.settings.model_name)
    except ConfigError:
        return None


def _is_live(context: JourneyContext, record: ModelRecord | None) -> bool:
    """Whether the live version is this very model."""
    if record is None or record.live is None:
        return False
    return record.version(record.live).digest == context.found("best").get("digest")


def _compared_with(context: JourneyContext) -> int | None:
    """The version that is live, or was before this very model became it: then nothing has changed for the gate."""
    record = _record(context)
    if record is None:
        return None
    return record.aliases.get(PREVIOUS) if _is_live(context, record) else record.live


def _not_compared(context: JourneyContext) -> str:
    record = _record(context)
    if record is not None and _is_live(context, record):
        return f"this model is version {record.live}, which is live"
    return "" if context.has_images or record is None or record.live is None else "the images aren't on this machine"


def _stays(record: ModelRecord | None) -> str:
    return "No model is live." if record is None or record.live is None else f"Version {record.live} stays live."


def _figures(context: JourneyContext) -> GateFigures:
    settings, record = context.settings, _record(context)
    training, live = settings.training, None
    names = "the live model", "this model"
    if record is not None and record.live is not None and not _is_live(context, record):
        live = ModelStore(settings.store).model_directory(settings.model_name, record.live)
        names = f"live version {record.live}", "this model"
    return gate_figures(
        model_of(context),
        settings.data,
        live=live,
        names=names,
        labels=training.labels,
        on_bad_image=training.on_bad_image,
        cache_dir=training.cache_dir,
    )
