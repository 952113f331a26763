"""Runs a whole search as one job: encodes it in the job's hyperparameters, and reports progress in the job's log."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from breedclf.config import TrainingConfig
from breedclf.errors import ConfigError, JobFailedError
from breedclf.jobs.metric_lines import best, print_metrics
from breedclf.tuning.search_request import SearchRequest
from breedclf.tuning.study import Study, StudyFolder

REQUEST_PAIR = "search"
SPACE_PAIR = "search_space_"
STUDY_OUTPUT = Path("tuning") / "study.json"
MARKER = "breedclf-search "
OPTUNA = "optuna>=5.0"
_CHECKPOINTS = "search"


def packed_pairs(study: Study) -> dict[str, str]:
    """The hyperparameters that turn a training job into this search: one for the request, and one per parameter."""
    request = study.request.model_dump(mode="json", exclude={"config", "space", "packed", "weights"}, exclude_none=True)
    whole = {"request": request, "key": study.key, "created": study.created}
    pairs = {REQUEST_PAIR: json.dumps(whole)}
    for name, parameter in study.request.space.items():
        pairs[SPACE_PAIR + name] = json.dumps(parameter.model_dump(mode="json"))
    return pairs


def is_search(hyperparameters: Mapping[str, Any]) -> bool:
    """Whether a job with these hyperparameters is a search."""
    return REQUEST_PAIR in hyperparameters


def requirements_of(hyperparameters: Mapping[str, Any]) -> tuple[str, ...]:
    """Additional packages for a job with these hyperparameters: the bayesian strategy needs Optuna."""
    if not is_search(hyperparameters):
        return ()
    strategy = _read(hyperparameters[REQUEST_PAIR])["request"].get("strategy")
    return (OPTUNA,) if strategy == "bayesian" else ()


def without_search(hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    """The hyperparameters without those of the search."""
    return {k: v for k, v in hyperparameters.items() if k != REQUEST_PAIR and not k.startswith(SPACE_PAIR)}


def study_from_pairs(
    hyperparameters: Mapping[str, Any], config: TrainingConfig, weights: Mapping[str, str] | None = None
) -> Study:
    """Decode the search of a job; values may be JSON text or already decoded.

    `weights` are those of each architecture in the space, with the paths of this job.

    Raises:
        ConfigError: the hyperparameters don't contain a complete search.
    """
    try:
        whole = _read(hyperparameters[REQUEST_PAIR])
        space = {
            name.removeprefix(SPACE_PAIR): _read(value)
            for name, value in hyperparameters.items()
            if name.startswith(SPACE_PAIR)
        }
        request = {**whole["request"], "space": space, "config": config, "weights": dict(weights or {})}
        return Study(request=SearchRequest(**request), key=whole["key"], created=whole["created"])
    except ConfigError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"the job's hyperparameters don't contain a complete search: {error!r}") from error


def run_packed(study: Study, *, checkpoints: Path, output_data: Path) -> Path:
    """Run the search inside its job and return the best trial's model directory.

    The state is stored in the checkpoints, so an interrupted job continues when it is restarted. Each change is printed
    as a line of the log, and the final state is written to the output.

    Raises:
        JobFailedError: no trial completed.
    """
    from breedclf.tuning.in_process import kept_model, run_in_process

    folder = StudyFolder(checkpoints / _CHECKPOINTS)
    with folder.locked():
        if not folder.exists():
            folder.save(study)
        last = ""

        def report(current: Study) -> None:
            nonlocal last
            line = study_line(current)
            if line != last:
                last = line
                print(line, flush=True)  # noqa: T201 - clients read the job's log

        study = run_in_process(folder, report)
    written = output_data / STUDY_OUTPUT
    written.parent.mkdir(parents=True, exist_ok=True)
    written.write_text(study_line(study), encoding="utf-8")
    found = study.best
    if found is None or found.objective is None:
        raise JobFailedError(f"no trial of the search completed: {study.reason}")
    print_metrics({best(study.request.objective): found.objective})
    return kept_model(folder, found.name)


def study_line(study: Study) -> str:
    """The state of a search in one line of a log, without settings and paths."""
    shown = {"status", "reason", "active_seconds", "trials"}
    if study.request.confirm_seeds:
        shown |= {"seed_runs", "confirmation"}
    values = {name: value for name, value in study.model_dump(mode="json").items() if name in shown}
    return MARKER + json.dumps(values)


def study_from_lines(lines: Iterable[str], study: Study) -> Study:
    """Update the study from the last of these log lines that has its state, if any."""
    for line in lines:
        _, marker, text = line.partition(MARKER)
        if not marker:
            continue
        try:
            values = json.loads(text)
        except ValueError:  # an incomplete line
            continue
        study = Study(**{**study.model_dump(), "request": study.request, **values})
    return study


def _read(value: object) -> Any:
    return json.loads(value) if isinstance(value, str) else value
