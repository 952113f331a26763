"""Recorded runs and journeys in the folders that an overview reads."""

from __future__ import annotations

from pathlib import Path

from breedclf.backends.common.folder import JobFolder
from breedclf.journey.record import JourneyRecord, Outcome, RunBy, StepStatus
from breedclf.profiling.profile import JobInfo, Profile
from breedclf.profiling.verified import Trial, Verification
from tests.journey.page_examples import finished
from tests.profiling import planted_faults, planted_profiles as planted

VERIFIED = Verification(
    trials=(
        Trial(
            name="workers = 2", changes={"workers": 2}, before=10.0, after=5.0, before_spread=0.1, after_spread=0.1,
            speedup=2.0, repeats=5, kept=True,
        ),
    ),
    recommended={"workers": 2},
    speedup=2.0,
    sentence="workers = 2: 10.00 s -> 5.00 s (2.00x), n = 5, measured.",
)  # fmt: skip


def slow_profile(name: str = "slow") -> Profile:
    """A run whose steps wait for data."""
    return planted.clean(**planted_faults.slow_loading(read_seconds=0.08), job=planted.job(name=name))


def clean_profile(name: str = "clean", *, steps: int = 400) -> Profile:
    """A run with nothing wrong."""
    return planted.clean(job=planted.job(name=name), steps=planted.steps(steps))


def empty_profile(name: str = "empty") -> Profile:
    """A run that has recorded nothing yet."""
    return Profile(job=JobInfo(name=name, start=0.0, end=1.0, status="Incomplete"))


def add_profile(job: JobFolder, profile: Profile) -> Path:
    """Write the profile that a job recorded."""
    folder = job.output_data / "profile"
    folder.mkdir(parents=True, exist_ok=True)
    return profile.save(folder)


DEAD = RunBy.this_process().model_copy(update={"create_time": 1.0})
"""A process that is gone: its number is in use, its start time isn't."""


def add_journey(
    folder: Path, *, last: str = "clean-up", status: StepStatus = "Completed", run_by: RunBy | None = None
) -> JourneyRecord:
    """Write the record of a journey up to a step."""
    record = finished(last=last, status=status).model_copy(update={"run_by": run_by, "durations": {"tune": 12.5}})
    if status == "InProgress":
        running = record.steps[-1].model_copy(update={"outcome": Outcome(headline="Running.", status="InProgress")})
        record = record.model_copy(update={"steps": (*record.steps[:-1], running)})
    folder.mkdir(parents=True, exist_ok=True)
    record.save(folder)
    return record
