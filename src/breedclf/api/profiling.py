"""`ProfilingSession`: where training time goes, what to change, and whether that helps."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from breedclf.backends.registry import backend_of
from breedclf.config import TrainingConfig
from breedclf.config.aliases import accept_old_keywords, renamed_settings
from breedclf.config.origin import check_one_origin, refuse_images
from breedclf.errors import ConfigError, ProfileError
from breedclf.files.disk import write_output
from breedclf.files.paths import StrPath, user_path
from breedclf.files.s3_uri import is_s3
from breedclf.profiling.profile import FILE_NAME, Profile
from breedclf.profiling.report import render_report, write_trace
from breedclf.profiling.rules import Finding, Rule, RuleChoice, check, choose_rules
from breedclf.profiling.sources import open_profile, open_remote_profile
from breedclf.profiling.verified import FILE_NAME as VERIFICATION_FILE, Verification, check_repeats, write_verification
from breedclf.text.html_repr import html_repr

if TYPE_CHECKING:
    from breedclf.data.given_images import GivenImages
    from breedclf.jobs import Backend
    from breedclf.jobs.handle import Job
    from breedclf.profiling.foreign import ForeignLoop

REPORT_FILE = "report.html"
TRACE_FILE = "trace.json"
RULES_FOLDER = "rule-output"


class ProfilingSession:
    """Profiles one training run, checks it against rules, and measures whether their advice helps.

    Args:
        config: the settings of the run; not needed for a recorded run.
        rules: the rules to check, see `breedclf.profiling.rules.choose_rules`; all if None.
        backend: where to train: a backend, or its name; in this process if None.
        stop_on: rules that stop the run after the epoch in which they find an issue.
        images: labeled images to train on, in place of `config.data`, as for `Trainer`; only without a backend.

    Example:
        >>> session = ProfilingSession(TrainingConfig(data="dogImages")).run()  # doctest: +SKIP
        >>> [finding.rule for finding in session.findings if finding.status == "issue"]  # doctest: +SKIP
        ['Dataloader']
    """

    def __init__(
        self,
        config: TrainingConfig | None = None,
        *,
        rules: RuleChoice = None,
        backend: Backend | str | None = None,
        stop_on: tuple[str, ...] = (),
        images: GivenImages | None = None,
    ) -> None:
        if images is not None and config is not None:
            check_one_origin(config, images)
        if backend is not None:
            refuse_images(images, "a backend")
        self.images = images
        self.config = config
        self.rules = rules
        self.backend: Backend | None = None if backend is None else backend_of(backend)
        self.stop_rules: list[Rule] = choose_rules(list(stop_on)) if stop_on else []
        choose_rules(rules)  # refuse a wrong name before anything runs
        self.verification: Verification | None = None
        self._profile: Profile | None = None
        self._operator_events: list[dict[str, Any]] = []
        self._job: Job | None = None

    def __repr__(self) -> str:
        if self._profile is None:
            return "ProfilingSession(not run yet)"
        job = self._profile.job
        return f"ProfilingSession({job.name!r}, {job.status}, {len(self._profile.steps)} steps)"

    @html_repr
    def _repr_html_(self) -> str:
        from breedclf.profiling.report.view import profile_view

        return profile_view(self.profile, self.findings, self.verification)

    def run(self) -> Self:
        """Train with a full recording; returns when the run has ended.

        Raises:
            ConfigError: the session has no config.
            BreedclfError: the run failed; `profile` has what was recorded until then.
        """
        config = self._config()
        if self.backend is not None:
            from breedclf.api.trainer import Trainer

            full = config.replace(profile="full")
            self._job = Trainer(full, backend=self.backend).submit().wait()
            return self._load(self._job)
        from breedclf.profiling.recorder import FULL, Recorder
        from breedclf.training.fit import fit
        from breedclf.training.progress import ProgressLog

        name = config.output.name or "training"
        recorder = Recorder(config.output, name=name, recording=FULL, stop_rules=self.stop_rules)
        try:
            fit(config, self.images, hooks=[ProgressLog(), recorder])
        finally:
            self._profile, self._operator_events = recorder.profile(), recorder.operator_events
        return self

    @classmethod
    def attach(cls, source: Job | StrPath, *, rules: RuleChoice = None, backend: Backend | str | None = None) -> Self:
        """Open a recorded run: a job that has ended (or its name, with `backend`), a folder, a file, or `s3://...`.

        Raises:
            ProfileError: there is no recorded run.
            JobError: there is no such job, or it hasn't ended.
        """
        session = cls(rules=rules, backend=backend)
        if isinstance(source, str) and is_s3(source):
            from breedclf.backends.sagemaker.s3.folder import fetch_recorded_run

            session._profile = open_remote_profile(source, fetch_recorded_run)
            session.config = _config_of(session._profile)
            return session
        if isinstance(source, str) and backend is not None:
            from breedclf.jobs.handle import Job as Handle

            return session._load(Handle.attach(source, backend=session.backend))
        if isinstance(source, (str, os.PathLike)):
            session._profile = open_profile(user_path(source, "the recorded run"))
            session.config = _config_of(session._profile)
            return session
        return session._load(source)

    @staticmethod
    @contextmanager
    def record(
        output: StrPath | None = None, *, name: str = "training", rules: RuleChoice = None, trace: bool = True
    ) -> Iterator[ForeignLoop]:
        """Record any training loop; call `session.step()` at the end of each step.

        Example:
            >>> with ProfilingSession.record() as session:
            ...     for _ in range(3):
            ...         total = sum(range(1000))
            ...         session.step(images=4)
            >>> len(session.profile.steps)
            3
        """
        from breedclf.profiling.foreign import ForeignLoop

        loop = ForeignLoop(None if output is None else user_path(output, "output"), name=name, rules=rules, trace=trace)
        with loop.recording():
            yield loop

    @property
    def profile(self) -> Profile:
        """The recording.

        Raises:
            ProfileError: nothing has run yet.
        """
        if self._profile is None:
            raise ProfileError("nothing is recorded yet: call run(), or attach() to a recorded run")
        return self._profile

    @property
    def findings(self) -> list[Finding]:
        """The finding of every rule; the last one, ProfilerReport, summarizes them."""
        return check(self.profile, self.rules)

    @accept_old_keywords
    def verify(
        self,
        *,
        repeats: int = 5,
        most_images: int = 256,
        also: Sequence[Mapping[str, Any]] = (),
        max_seconds: float | None = None,
        folder: StrPath | None = None,
    ) -> Verification:
        """Try the advice that applies, and recommend what is measurably faster.

        Trains on up to `most_images` images of each split, in this process, `repeats` times per change. Changes that
        affect the trained model are measured, but never recommended.

        Args:
            repeats: at least 5.
            also: other changes to try, such as `{"compile_network": True}`, which isn't tried otherwise.
            max_seconds: no run starts later; short runs find the number of images for which there is time. If it is
                too short for any, nothing is measured. If the time is over before the end, because the machine has
                become slower, only what was run often enough is recommended. The result says so in both cases.
            folder: for temporary files; it must exist. By default they are where the system has them.

        Raises:
            ConfigError: the session has no config, a change isn't a setting, or `repeats` is below 5.
        """
        from breedclf.profiling.verify import candidates, images_in_time, timed_fit, verify

        started = time.monotonic()
        check_repeats(repeats)
        place = None if folder is None else user_path(folder, "folder")
        config = self._config()
        renamed = [renamed_settings(change) for change in also]
        wanted = [{name: getattr(config.replace(**change), name) for name in change} for change in renamed]
        changes = candidates(config, self.profile, self.findings, wanted)

        def make_run(count: int) -> Callable[[TrainingConfig], float]:
            return timed_fit(config, self.images, most_images=count, folder=place)

        count: int | None = most_images
        if max_seconds is not None and changes:
            count = images_in_time(
                config,
                self.images,
                make_run,
                changes=len(changes),
                repeats=repeats,
                seconds=max_seconds,
                most=most_images,
            )
        if count is None:
            sentence = (
                f"The advice wasn't measured: {max_seconds:g} s are too short to run the changes {repeats} times."
            )
            self.verification = Verification(sentence=sentence)
        else:

            def is_over() -> bool:
                return max_seconds is not None and time.monotonic() > started + max_seconds

            found = verify(config, changes, make_run(count), repeats=repeats, is_over=is_over)
            self.verification = found.model_copy(update={"images": count if changes else None})
        return self.verification

    @property
    def recommended_config(self) -> TrainingConfig:
        """The settings with what `verify()` found to be faster.

        Raises:
            ConfigError: nothing has been verified yet.
        """
        if self.verification is None:
            raise ConfigError("nothing is verified yet: call verify() first")
        return self._config().replace(**self.verification.recommended)

    def report(self, path: StrPath = REPORT_FILE) -> Path:
        """Write the page for people."""
        path = user_path(path, "path")
        write_output(path, render_report(self.profile, self.findings, self.verification))
        return path

    def save(self, folder: StrPath) -> Path:
        """Write report.html, profile.json, trace.json and AWS-shaped rule files into a folder.

        What was verified is in verification.json.
        """
        from breedclf.profiling.readers.aws_report import write_rule_reports

        folder = user_path(folder, "folder")
        self.report(folder / REPORT_FILE)
        self.profile.save(folder / FILE_NAME)
        if self._operator_events or not (folder / TRACE_FILE).exists():
            write_trace(self.profile, folder / TRACE_FILE, self._operator_events)
        write_rule_reports(self.findings, folder / RULES_FOLDER)
        if self.verification is not None:
            write_verification(self.verification, folder)
        else:
            (folder / VERIFICATION_FILE).unlink(missing_ok=True)  # of another profile, which was here before
        return folder

    def _load(self, job: Job) -> Self:
        try:
            self._profile = open_profile(job.output)
        except ProfileError as error:
            raise ProfileError(
                f"job {job.name} left no profile; run it with profile=timers or full ({error})"
            ) from error
        self._job = job
        if self.config is None:
            self.config = _config_of(self._profile)
        return self

    def _config(self) -> TrainingConfig:
        if self.config is None:
            raise ConfigError("the session has no config: ProfilingSession(TrainingConfig(data=...))")
        return self.config


def _config_of(profile: Profile) -> TrainingConfig | None:
    """The settings in a profile, if its data still exists and this version knows them."""
    settings = profile.job.settings
    try:
        there = Path(str(settings.get("data", ""))).is_dir()
        return TrainingConfig.from_saved(settings) if settings and there else None
    except (ConfigError, OSError):  # of another version, edited, or not a path
        return None
