"""A runner for tests that keeps its jobs in files, so that they outlive the process that drives the search."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from breedclf.config import TrainingConfig
from breedclf.errors import BreedclfError
from breedclf.tuning.search import TrialSnapshot


def image_losses(loss: float, seed: int) -> list[float]:
    """Losses of eight images around this mean, which is a little different for each seed."""
    return [loss + 0.01 * ((image * 7 + seed * 3) % 8 - 3.5) for image in range(8)]


class BookkeepingRunner:
    """Jobs that advance one epoch at each look; a name taken, or a job unknown, is refused.

    `losses` says what each epoch of a config ends with; an exception instead of a list makes the job fail. `scores`
    are the losses of the validation images of a job with this loss and seed.
    """

    def __init__(
        self,
        folder: Path,
        losses: Callable[[TrainingConfig], list[float]],
        scores: Callable[[float, int], list[float]] = image_losses,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.losses = losses
        self.scores = scores
        self.restored: list[tuple[str, int]] = []

    def submit(self, name: str, config: TrainingConfig, *, scored: bool) -> None:
        if self._file(name).exists():
            raise BreedclfError(f"a job named {name!r} exists already")
        try:
            losses, failure = self.losses(config), None
        except ArithmeticError as error:
            losses, failure = [], str(error)
        settings = {"learning_rate": config.learning_rate, "batch_size": config.batch_size, "epochs": config.epochs}
        settings |= {"seed": config.seed} if scored else {}
        self._write(
            name, {"settings": settings, "losses": losses, "failure": failure, "epoch": 0, "status": "InProgress"}
        )

    def snapshot(self, name: str) -> TrialSnapshot | None:
        if not self._file(name).exists():
            return None
        job = json.loads(self._file(name).read_text())
        job = self._advanced(job)
        self._write(name, job)
        losses = job["losses"][: job["epoch"]]
        over = job["status"] == "Completed"
        return TrialSnapshot(
            status=job["status"],
            history=tuple(losses),
            objective=min(losses) if over and losses else None,
            metrics={"valid_accuracy": 0.5},
            started=1_000.0,
            ended=1_002.0 if job["status"] != "InProgress" else None,
            failure_reason=job["failure"] if job["status"] == "Failed" else None,
            lost=job.get("lost", False),
        )

    def stop(self, name: str) -> None:
        job = json.loads(self._file(name).read_text())
        if job["status"] == "InProgress":
            self._write(name, {**job, "status": "Stopped"})

    def valid_scores(self, name: str) -> list[float] | None:
        job = json.loads(self._file(name).read_text())
        if "seed" not in job["settings"]:
            raise BreedclfError(f"job {name!r} wasn't asked for its scores")
        return self.scores(min(job["losses"]), job["settings"]["seed"])

    def restore_model(self, name: str, config: TrainingConfig) -> None:
        self.restored.append((name, config.seed))

    def lose(self, name: str) -> None:
        """Let the process that runs the job vanish."""
        job = json.loads(self._file(name).read_text())
        self._write(name, {**job, "status": "Failed", "failure": "supervisor lost", "lost": True})

    def jobs(self) -> Mapping[str, dict[str, object]]:
        return {file.stem: json.loads(file.read_text()) for file in sorted(self.folder.glob("*.json"))}

    def _advanced(self, job: dict) -> dict:
        if job["status"] != "InProgress":
            return job
        if job["failure"]:
            return {**job, "status": "Failed"}
        epoch = job["epoch"] + 1
        return {**job, "epoch": epoch, "status": "Completed" if epoch >= len(job["losses"]) else "InProgress"}

    def _write(self, name: str, job: dict) -> None:
        half = self._file(name).with_suffix(".tmp")
        half.write_text(json.dumps(job))
        half.replace(self._file(name))

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.json"


def quadratic(config: TrainingConfig) -> list[float]:
    """Losses with one best point: learning rate 0.0075, batch 64."""
    base = abs(config.learning_rate - 0.0075) * 100 + (0.1 if config.batch_size == 32 else 0.0)
    return [base + 1 / epoch for epoch in range(1, config.epochs + 1)]
