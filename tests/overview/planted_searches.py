"""Stored searches as a process that drives one writes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from breedclf import Categorical, Continuous, TrainingConfig
from breedclf.overview.studies import StudyHome
from breedclf.tuning.search_request import SearchRequest
from breedclf.tuning.study import Study, StudyFolder
from breedclf.tuning.trials import Trial

SPACE: dict[str, Any] = {"learning_rate": Continuous(0.001, 0.1, "log"), "batch_size": Categorical(32, 64)}
CREATED = 1_800_000_000.0


def plant(
    home: Path,
    name: str,
    objectives: Sequence[float | None] = (0.5, 0.25, 0.75),
    *,
    status: Any = "Completed",
    space: dict[str, Any] | None = None,
    values: dict[str, Any] | None = None,
    trial_status: Any = "Completed",
    max_jobs: int = 10,
    created: float = CREATED,
    backend: str | None = None,
    **changes: Any,
) -> StudyFolder:
    """Write a search with a trial for each objective; one without an objective failed."""
    request = SearchRequest(
        name=name if name.isascii() and name.replace("-", "").isalnum() else "planted",
        config=TrainingConfig(data="dogs"),
        space=space or SPACE,
        max_jobs=max_jobs,
        strategy="random",
    )
    trials = tuple(
        Trial(
            name=f"{name}-{index + 1:03d}",
            index=index,
            submitted=True,
            hyperparameters=values or {"learning_rate": 0.001 * (index + 1), "batch_size": (32, 64)[index % 2]},
            status="Failed" if objective is None else trial_status,
            objective=objective,
            history=() if objective is None else (objective + 0.1, objective),
            metrics={} if objective is None else {"valid_accuracy": 0.5},
            started=created + 10 * index,
            ended=created + 10 * index + 8,
            failure_reason="out of memory" if objective is None else None,
        )
        for index, objective in enumerate(objectives)
    )
    folder = StudyHome(home).folder(name)
    folder.path.mkdir(parents=True, exist_ok=True)
    study = Study(
        request=request,
        key="0123abcd",
        created=created,
        status=status,
        trials=trials,
        valid_count=100,
        active_seconds=33.0,
        backend=backend,
        **changes,
    )
    folder.save(study)
    return folder


def add_trial(folder: StudyFolder, objective: float) -> None:
    """Write one more trial that completed."""
    study = folder.load()
    last = study.trials[-1]
    index = len(study.trials)
    new = last.model_copy(update={"name": study.job_name(index), "index": index, "objective": objective})
    folder.save(study.model_copy(update={"trials": (*study.trials, new)}))
