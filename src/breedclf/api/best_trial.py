"""`BestTrial`: the winner of a search."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from breedclf.config import TrainingConfig
from breedclf.jobs.handle import Job
from breedclf.tuning.space import Values


@dataclass(frozen=True, repr=False)
class BestTrial:
    """The completed trial with the best objective, or the best confirmed one.

    Pass `config` to a Trainer, a ProfilingSession or another TuningJob; `job` is the job that ran the trial, None if it
    ran in this process. `level_with` names the trials that can't be distinguished from it, once the best trials have
    been run again with other seeds (`confirm_seeds`); otherwise it is None.
    """

    name: str
    config: TrainingConfig
    hyperparameters: Values
    objective: float
    metrics: dict[str, float]
    job: Job | None
    level_with: tuple[str, ...] | None
    _artifact: Callable[[], Path] = field(repr=False)

    def __repr__(self) -> str:
        return f"BestTrial({self.name!r}, {self.config.objective} {self.objective:.4f}, {dict(self.hyperparameters)})"

    @property
    def artifact(self) -> Path:
        """Its model directory, fetched if needed.

        Raises:
            BreedclfError: it no longer exists.
        """
        return self._artifact()
