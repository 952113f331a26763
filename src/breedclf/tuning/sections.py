"""Sections about a search, which its report and the console share: the result, history, importance, settings."""

from __future__ import annotations

from markupsafe import Markup

from breedclf.reporting import Section, formats
from breedclf.reporting.blocks import Tile, Tone, callout, details, facts, tiles
from breedclf.tuning.analysis import accuracy_interval, importances, level_with_best
from breedclf.tuning.charts import accuracy_chart, curves_chart, history_chart, importance_chart, parallel_chart
from breedclf.tuning.study import Study
from breedclf.tuning.table import confirmation_line, value_text
from breedclf.tuning.trials import Trial, ranked

_FEW_IMAGES = 500
_NAMED = 8


def summary_blocks(study: Study, best: Trial | None, *, status: str = "") -> list[Markup | str]:
    """The best hyperparameters, or why there are none, and headline figures; `status` if more is known of that."""
    counts = {status: sum(t.status == status for t in study.trials) for status in ("Completed", "Failed", "Stopped")}
    seconds = sum(trial.seconds or 0.0 for trial in study.trials)
    jobs = Tile("training jobs", str(len(study.trials)), f"{counts['Completed']} completed, {counts['Failed']} failed")
    blocks: list[Markup | str] = []
    if best is None or best.objective is None:
        blocks.append(
            callout(
                "bad" if study.is_over else "info",
                "No training job has completed",
                study.reason or "The search is still running.",
            )
        )
        return [*blocks, tiles([jobs])]
    values = ", ".join(f"{name} {value_text(value)}" for name, value in best.hyperparameters.items())
    headline = [Tile(f"best {study.request.objective}", f"{best.objective:.4f}", best.name, tone="ok")]
    accuracy = best.metrics.get("valid_accuracy")
    if accuracy is not None:
        headline.append(Tile("its validation accuracy", formats.percent(accuracy), _interval_text(accuracy, study)))
    if study.confirmation is not None:
        level, count = len(study.confirmation.level_with), len(study.confirmation.trials)
        seeds = f"of {count} confirmed with {len(study.confirmation.seeds)} other seeds"
        headline.append(Tile("trials level with it", str(level), seeds))
    headline += [jobs, Tile("total job time", formats.seconds(seconds), f"search: {status or study.status}")]
    blocks += [callout("ok", "Best hyperparameters", values), tiles(headline)]
    if study.reason:
        blocks.append(f"Reason for the end of the search: {study.reason}.")
    return blocks


def level_sentence(study: Study) -> list[str]:
    """Which trials can't be distinguished from the best one, in words; nothing if that isn't known."""
    if study.confirmation is not None:
        line = confirmation_line(study.confirmation)
        return [f"{line[0].upper()}{line[1:]}."]
    best, count = study.best, study.valid_count
    others = len(ranked(study.trials)) - 1
    if best is None or others < 1 or not count or "valid_accuracy" not in best.metrics:
        return []
    level = level_with_best(study.trials, study.request.direction, count)
    if not level:
        return [f"On {count} validation images, its accuracy is significantly better than that of the other {others}."]
    names = ", ".join(str(trial.index + 1) for trial in level[:_NAMED]) + (", ..." if len(level) > _NAMED else "")
    which = f"trial {names}" if len(level) == 1 else f"{len(level)} of the other {others} trials ({names})"
    return [f"Level with {which}, whose accuracy isn't significantly worse on {count} validation images."]


def history_section(study: Study) -> Section:
    """The objective of each training job, the best so far, and learning curves."""
    curves = curves_chart(study)
    blocks: list[Markup | str] = [history_chart(study), *([] if curves is None else [curves])]
    return Section(
        "History", blocks, lead="Training jobs in the order in which they started, and the best result so far."
    )


def parallel_section(study: Study) -> Section:
    """One line per training job."""
    lead = "One line per training job, from its hyperparameters to its outcome; better jobs have stronger lines."
    return Section("Parallel coordinates", [parallel_chart(study, study.best)], lead=lead)


def importance_section(study: Study) -> Section:
    """How much each hyperparameter explains of the differences, if there are enough training jobs."""
    found = importances(study.request.space, study.trials)
    lead = "The share of the objective's variance that each hyperparameter explains on its own."
    if not found:
        text = "This needs at least 4 completed training jobs with different outcomes."
        return Section("Importance", [callout("info", "Too few training jobs", text)], lead=lead)
    return Section("Importance", [importance_chart(study, found)], lead=lead)


def confidence_section(study: Study) -> list[Section]:
    """How far the accuracies can be trusted; nothing if they aren't known."""
    best = study.best
    count = study.valid_count
    shown = [trial for trial in ranked(study.trials) if "valid_accuracy" in trial.metrics]
    if not count or best is None or "valid_accuracy" not in best.metrics:
        return []
    level = level_with_best(study.trials, study.request.direction, count)
    width = accuracy_interval(best.metrics["valid_accuracy"], count)
    words = (
        f"There are {count} validation images, so one image is {formats.percent(1 / count)}. The best training job's "
        f"accuracy is, with 95% confidence, between {formats.percent(width[0])} and {formats.percent(width[1])}. "
    )
    if level:
        words += (
            f"{len(level)} of the other {len(shown) - 1} training jobs aren't significantly worse in accuracy. "
            "All jobs were compared on the same images, and the best was selected by its outcome on them: evaluate it "
            "on the test split before reporting its accuracy."
        )
    tone: Tone = "info" if level or count < _FEW_IMAGES else "ok"
    blocks: list[Markup | str] = [callout(tone, "Reliability of these numbers", words), accuracy_chart(study, count)]
    return [Section("Confidence", blocks, lead="Accuracy is measured on a limited number of images.")]


def settings_section(study: Study) -> Section:
    """What was searched and how, and the settings that all training jobs share."""
    request = study.request
    criteria = request.completion.model_dump(exclude_none=True)
    pairs: list[tuple[str, object]] = [
        *((name, str(parameter)) for name, parameter in request.space.items()),
        ("objective", f"{request.objective} ({request.direction})"),
        ("strategy", request.strategy),
        ("search seed", request.seed),
        *([("other training seeds", request.confirm_seeds)] if request.confirm_seeds else []),
        ("maximum training jobs", request.job_count),
        ("maximum parallel jobs", request.max_parallel_jobs),
        ("early stopping", "on: median of running averages" if request.early_stopping else "off"),
        *((name.replace("_", " "), value) for name, value in criteria.items()),
    ]
    shared = [(name, value) for name, value in request.config.to_dict().items() if name not in request.space]
    blocks: list[Markup | str] = [facts(pairs), details("Settings of all training jobs", facts(shared))]
    return Section("Search settings", blocks)


def _interval_text(accuracy: float, study: Study) -> str:
    if not study.valid_count:
        return ""
    low, high = accuracy_interval(accuracy, study.valid_count)
    return f"{formats.percent(low)} to {formats.percent(high)}, of {study.valid_count} images"
