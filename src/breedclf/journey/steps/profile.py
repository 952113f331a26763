"""Profile the best settings, and measure whether the advice helps."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from breedclf.api.profiling import ProfilingSession
from breedclf.api.trainer import Trainer
from breedclf.errors import JobError
from breedclf.jobs import PlanningBackend, new_name
from breedclf.jobs.endpoints import BackendOfThisMachine
from breedclf.jobs.handle import Job
from breedclf.jobs.plan import Plan
from breedclf.journey.figures import profile_figures
from breedclf.journey.record import Figure, Outcome
from breedclf.journey.step import Alone, JourneyContext, Step
from breedclf.journey.steps.backbones import training_with_backbone
from breedclf.journey.steps.best import best_training
from breedclf.journey.steps.shown import backend_flag, backend_python, command, config_python, settings_shown


class Profile(Step):
    """Train the best settings once more with a full recording."""

    name = "profile"
    title = "Debug and profile"
    needs: ClassVar[tuple[str, ...]] = ("tune",)
    files: ClassVar[tuple[str, ...]] = ("profile/profile.json", "profile/report.html")

    def inputs(self, context: JourneyContext) -> Mapping[str, Any]:
        settings = context.settings
        return {"verify": settings.verify, "verify_seconds": settings.verify_seconds if settings.verify else None}

    def intent(self, context: JourneyContext) -> Mapping[str, Any]:
        """The name of the job, if it is one, so that the one of a killed run is continued."""
        if context.backend is None:
            return {}
        before = context.record.step(self.name)
        interrupted = before is not None and before.status == "InProgress" and not context.repeated
        return {"job": before.outcome.values["job"] if before is not None and interrupted else new_name("profile")}

    def run(self, context: JourneyContext) -> Outcome:
        folder = context.folder / "profile"
        session = _recorded(context, folder)
        measured = ""
        if context.settings.verify and _trains_here(context):
            with _emptied(folder / "verify") as temporary:
                session.verify(max_seconds=context.settings.verify_seconds, folder=temporary)
        elif context.settings.verify:
            measured = "The advice isn't measured: training runs on another machine, or the images are in S3."
        session.save(folder)
        shutil.rmtree(folder / "model", ignore_errors=True)  # the search has made the same one
        issues = [finding.rule for finding in session.findings if finding.status == "issue"]
        verified = session.verification
        if verified is not None:
            on = "" if verified.images is None else f" Measured on {verified.images} images of each split."
            measured = f"{verified.sentence}{on}"
        found = f"Rules with an issue: {', '.join(issues)}" if issues else "No rule found an issue"
        return Outcome(
            headline=f"{found}. {measured}".strip(),
            values={
                "issues": issues,
                "recommended": verified.recommended if verified else {},
                "images": verified.images if verified else None,
                "repeats": max((trial.repeats for trial in verified.trials), default=0) if verified else 0,
                "figures": profile_figures(session),
            },
            figures=(Figure(label="Issues", value=str(len(issues)), note=", ".join(issues)),),
            report=context.shown(folder / "report.html"),
        )

    def cost(self, context: JourneyContext) -> Plan | None:
        if not isinstance(context.backend, PlanningBackend):
            return None
        return Trainer(training_with_backbone(context), backend=context.backend).plan()

    def alone(self, context: JourneyContext) -> Alone:
        training, output = best_training(context), str(context.folder / "profile")
        verified = ".verify()" if context.settings.verify and _trains_here(context) else ""
        flags = {**settings_shown(training), "output": output, **backend_flag(context.backend)}
        if verified:
            flags["verify"] = True
        config = config_python(training, output=output)
        return Alone(
            f"ProfilingSession({config}{backend_python(context.backend)}).run(){verified}",
            command("breedclf", "profile", context.settings.data, flags=flags),
        )


def _recorded(context: JourneyContext, folder: Path) -> ProfilingSession:
    """The recorded run: in this process, or as a job, which is found again if this process is killed."""
    training = best_training(context).replace(output=folder, checkpoints=False)
    if context.backend is None:
        return ProfilingSession(training).run()
    name = context.found("profile")["job"]
    try:
        job = Job.attach(name, backend=context.backend)
    except JobError:
        job = Trainer(training.replace(profile="full"), backend=context.backend).submit(name=name)
    session = ProfilingSession.attach(job.wait())
    session.config = training
    return session


def _trains_here(context: JourneyContext) -> bool:
    """Whether training runs on this machine, where advice can be measured."""
    backend = context.backend
    here = backend is None or (isinstance(backend, BackendOfThisMachine) and backend.serves_on_this_machine)
    return here and context.has_images


@contextmanager
def _emptied(folder: Path) -> Iterator[Path]:
    """A folder for temporary files, without those of a run that was killed; it is removed at the end."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
