"""Ctrl-C while a tuning job is awaited: its running jobs go on, and a second one stops them all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from breedclf.api.tuning_drivers import Driver
from breedclf.jobs import detach, print_on_stderr
from breedclf.jobs.waiting import Clock
from breedclf.tuning.study import StudyFolder
from breedclf.tuning.table import summary_line


@contextmanager
def detaching(folder: StudyFolder, driver: Driver, clock: Clock) -> Iterator[None]:
    """Print on Ctrl-C how to come back; stop everything if it is pressed again."""
    try:
        yield
    except KeyboardInterrupt:
        detach(partial(_notice, folder, driver), partial(_stop, folder, driver), clock)
        raise


def _notice(folder: StudyFolder, driver: Driver) -> str | None:
    study = folder.load()
    if study.is_over:
        return None
    name = study.request.name
    return (
        f"\n{summary_line(study)}: {driver.goes_on}; continue with TuningJob.attach({name!r}, ...).wait() or "
        f"`breedclf tune --resume {name}`; press Ctrl-C again now to stop it"
    )


def _stop(folder: StudyFolder, driver: Driver) -> None:
    print_on_stderr(f"stopping all jobs of {folder.path.name}")
    folder.stop_file.touch()
    driver.carry_on(lambda _study: None)
