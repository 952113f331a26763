"""A whole search as one job: how it travels in the job's hyperparameters, and how the job tells what it finds."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from breedclf.config import TrainingConfig
from breedclf.errors import ConfigError, JobFailedError
from breedclf.jobs.metric_lines import best, print_metrics
from breedclf.tuning.study import SearchRequest, Study, StudyFolder

REQUEST_PAIR = "search"
SPACE_PAIR = "search_space_"
STUDY_OUTPUT = Path("tuning") / "study.json"
MARKER = "breedclf-search "
OPTUNA = "optuna>=5.0"
_CHECKPOINTS = "search"


def packed_pairs(study: Study) -> dict[str, str]:
    """The hyperparameters that turn a training's job into this search: one for the whole, one a parameter."""
    request = study.request.model_dump(mode="json", exclude={"config", "space", "packed"}, exclude_none=True)
    whole = {"request": request, "key": study.key, "created": study.created}
    pairs = {REQUEST_PAIR: json.dumps(whole)}
    for name, parameter in study.request.space.items():
        pairs[SPACE_PAIR + name] = json.dumps(parameter.model_dump(mode="json"))
    return pairs


def is_search(hyperparameters: Mapping[str, Any]) -> bool:
    """Whether a job with these hyperparameters is a search."""
    return REQUEST_PAIR in hyperparameters


def requirements_of(hyperparameters: Mapping[str, Any]) -> tuple[str, ...]:
    """What a job with these hyperparameters needs beyond a training: the bayesian strategy draws with Optuna."""
    if not is_search(hyperparameters):
        return ()
    strategy = _read(hyperparameters[REQUEST_PAIR])["request"].get("strategy")
    return (OPTUNA,) if strategy == "bayesian" else ()


def without_search(hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    """Those that belong to the training."""
    return {k: v for k, v in hyperparameters.items() if k != REQUEST_PAIR and not k.startswith(SPACE_PAIR)}


def study_from_pairs(hyperparameters: Mapping[str, Any], config: TrainingConfig) -> Study:
    """The search that a job is asked for; values may arrive as JSON text or already read.

    Raises:
        ConfigError: the hyperparameters hold no whole search.
    """
    try:
        whole = _read(hyperparameters[REQUEST_PAIR])
        space = {
            name.removeprefix(SPACE_PAIR): _read(value)
            for name, value in hyperparameters.items()
            if name.startswith(SPACE_PAIR)
        }
        request = {**whole["request"], "space": space, "config": config}
        return Study(request=SearchRequest(**request), key=whole["key"], created=whole["created"])
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"the job's hyperparameters hold no whole search: {error!r}") from error


def run_packed(study: Study, *, checkpoints: Path, output_data: Path) -> Path:
    """Run the search inside its job and return the best model's folder.

    The state lies in the checkpoints, so that a job that is interrupted and started again goes on where it was. Each
    change is told in a line of the log, and the whole stands in the output at the end.

    Raises:
        JobFailedError: no trial completed.
    """
    from breedclf.tuning.in_process import kept_model, run_in_process

    folder = StudyFolder(checkpoints / _CHECKPOINTS)
    with folder.locked():
        if not folder.exists():
            folder.save(study)
        told: list[str] = []

        def tell(now: Study) -> None:
            line = study_line(now)
            if line not in told:
                told[:] = [line]
                print(line, flush=True)  # noqa: T201 - the job's log is read by who waits for it

        study = run_in_process(folder, tell)
    written = output_data / STUDY_OUTPUT
    written.parent.mkdir(parents=True, exist_ok=True)
    written.write_text(study_line(study), encoding="utf-8")
    found = study.best
    if found is None or found.objective is None:
        raise JobFailedError(f"no trial of the search completed: {study.reason}")
    print_metrics({best(study.request.objective): found.objective})
    return kept_model(folder, found.name)


def study_line(study: Study) -> str:
    """What a search has found so far, in one line of a log; settings and places are left out."""
    values = study.model_dump(mode="json", include={"status", "reason", "active_seconds", "trials"})
    return MARKER + json.dumps(values)


def study_from_lines(lines: Iterable[str], study: Study) -> Study:
    """The study as the last of these lines tells it; as it was when none does."""
    for line in lines:
        _, marker, text = line.partition(MARKER)
        if not marker:
            continue
        try:
            values = json.loads(text)
        except ValueError:  # a line cut in two
            continue
        study = Study(**{**study.model_dump(), "request": study.request, **values})
    return study


def _read(value: object) -> Any:
    return json.loads(value) if isinstance(value, str) else value
