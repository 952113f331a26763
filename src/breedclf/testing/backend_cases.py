"""Tests that every backend must pass: subclass `BackendCases` in a test module and define a `backend` fixture."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from breedclf.errors import ConfigError, JobError, JobFailedError, JobTimeoutError
from breedclf.jobs import Backend, JobSpec, JobStatus, SecondaryStatus
from breedclf.jobs.handle import Job
from breedclf.testing.job_fixtures import JobFixtures, script_source

__all__ = ["BackendCases", "script_source"]

_ORDER = (
    SecondaryStatus.STARTING,
    SecondaryStatus.PENDING,
    SecondaryStatus.DOWNLOADING,
    SecondaryStatus.TRAINING,
    SecondaryStatus.STOPPING,
    SecondaryStatus.UPLOADING,
    SecondaryStatus.COMPLETED,
    SecondaryStatus.FAILED,
    SecondaryStatus.STOPPED,
    SecondaryStatus.MAX_RUNTIME_EXCEEDED,
)
_RUNS_LONG = """
    import os, pathlib, time
    pathlib.Path(os.environ["SM_MODEL_DIR"], "half.txt").write_text("so far")
    print("running", flush=True)
    time.sleep(300)
"""


class BackendCases(JobFixtures):
    """The contract of a backend, as pytest methods.

    A subclass defines the fixture `backend`, and `same_jobs` if another object can access the same jobs. It sets
    `runs_in_background = False` if `submit` returns only after the job has ended, and `reason_has_last_line = False` if
    a failure reason can't contain the last line of the log. No test waits longer than `timeout_seconds`.

    Example:
        class TestMine(BackendCases):
            @pytest.fixture
            def backend(self, tmp_path):
                return MyBackend(tmp_path)
    """

    def test_a_job_goes_through_the_states_in_order(self, submit: Callable[..., Job]) -> None:
        before = time.time()
        description = self.ended(submit("print('done')")).describe()
        assert description.status == "Completed"
        assert description.secondary_status == "Completed"
        states = [transition.status for transition in description.transitions]
        assert states == [status for status in _ORDER if status in states]
        assert {SecondaryStatus.STARTING, SecondaryStatus.TRAINING, SecondaryStatus.COMPLETED} <= set(states)
        times = [transition.time for transition in description.transitions]
        assert times == sorted(times)
        assert description.started is not None and description.ended is not None
        assert before - 2 <= description.created <= description.started <= description.ended
        assert description.failure_reason is None

    def test_the_last_value_of_each_metric_counts_and_text_is_ignored(self, submit: Callable[..., Job]) -> None:
        job = self.ended(
            submit("""
                print('breedclf-metrics {"epoch": 1, "train_loss": 0.5, "valid_loss": 2e-07}')
                print('breedclf-metrics {"epoch": 2, "train_loss": "nan"}', flush=True)
                print('breedclf-metrics {"best_epoch": 1}', end="")
            """)
        )
        assert job.metrics == {"epoch": 2, "train_loss": 0.5, "valid_loss": 2e-07, "best_epoch": 1}
        assert [dict(record.values) for record in job.metric_history] == [
            {"epoch": 1, "train_loss": 0.5, "valid_loss": 2e-07},
            {"epoch": 2},
            {"best_epoch": 1},
        ]

    def test_the_log_holds_both_streams_in_any_script(self, submit: Callable[..., Job]) -> None:
        job = self.ended(submit("import sys\nprint('Größe ✓', flush=True)\nsys.stderr.write('oops\\n')"))
        assert sorted(line for line in self.lines(job) if line) == ["Größe ✓", "oops"]
        assert list(job.logs(follow=True)) == list(job.logs())

    def test_the_log_can_be_read_in_pieces(self, backend: Backend, submit: Callable[..., Job]) -> None:
        job = self.ended(submit("print('one')\nprint('two')"))
        text, position = backend.read_log(job.name)
        while text:
            before, (text, position) = position, backend.read_log(job.name, position)
        assert before == position
        assert self.lines(job) == ["one", "two"]

    def test_a_failed_job_has_a_reason(self, submit: Callable[..., Job]) -> None:
        job = self.ended(
            submit("""
                import os, pathlib, sys
                pathlib.Path(os.environ["SM_OUTPUT_DIR"], "failure").write_text("because " + "x" * 2000)
                sys.exit(3)
            """)
        )
        assert job.status == JobStatus.FAILED
        reason = job.failure_reason or ""  # SageMaker adds words of its own, so fewer characters are left
        assert ("because " + "x" * 2000).startswith(reason)
        assert 1_000 <= len(reason) <= 1_024
        with pytest.raises(JobFailedError, match="job job failed: because xxx"):
            job.wait()

    def test_a_job_without_a_failure_file_has_a_reason_too(self, submit: Callable[..., Job]) -> None:
        job = self.ended(submit("print('the last line')\nraise SystemExit(7)"))
        assert job.status == "Failed"
        assert job.failure_reason is not None
        assert "exit code 7" in job.failure_reason
        if self.reason_has_last_line:
            assert "the last line" in job.failure_reason

    def test_an_exception_fails_the_job_and_is_in_the_log(self, submit: Callable[..., Job]) -> None:
        job = self.ended(submit("raise ValueError('no good')"))
        assert job.status == "Failed"
        # A container may log each piece that Python writes as a line of its own, without spaces.
        assert "ValueError:nogood" in "".join("".join(job.logs()).split())

    def test_a_job_ended_by_a_signal_fails_with_its_name(self, submit: Callable[..., Job]) -> None:
        self.need_background()
        job = self.ended(submit("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)"))
        assert job.status == "Failed"
        assert "SIGSEGV" in str(job.failure_reason)

    def test_stop_ends_a_job_and_keeps_what_it_wrote(
        self, backend: Backend, same_jobs: Backend, submit: Callable[..., Job]
    ) -> None:
        stopper = self.when_training(same_jobs, "job", lambda: same_jobs.stop("job"))
        job = self.ended(submit(_RUNS_LONG))
        stopper.join(self.timeout_seconds)
        description = job.describe()
        assert description.status == "Stopped"
        assert description.secondary_status == "Stopped"
        assert SecondaryStatus.STOPPING in [transition.status for transition in description.transitions]
        assert (job.artifact / "half.txt").read_text() == "so far"
        backend.stop("job")  # has no effect on a job that has ended
        assert job.status == "Stopped"

    def test_a_job_that_exceeds_its_runtime_is_stopped(self, submit: Callable[..., Job]) -> None:
        job = self.ended(submit(_RUNS_LONG, max_runtime_seconds=0.5))
        assert job.status == "Stopped"
        assert job.secondary_status == "MaxRuntimeExceeded"

    def test_model_and_output_come_back(self, submit: Callable[..., Job]) -> None:
        job = self.ended(
            submit("""
                import os, pathlib
                pathlib.Path(os.environ["SM_MODEL_DIR"], "model.bin").write_bytes(b"weights")
                pathlib.Path(os.environ["SM_OUTPUT_DATA_DIR"], "table.csv").write_text("a,b")
            """)
        )
        assert (job.artifact / "model.bin").read_bytes() == b"weights"
        assert (job.output / "table.csv").read_text() == "a,b"

    def test_a_job_without_a_model_raises_an_error(self, submit: Callable[..., Job]) -> None:
        job = self.ended(submit("pass"))
        with pytest.raises(JobError, match="job job left no model"):
            _ = job.artifact

    def test_a_job_can_be_attached_by_name(self, same_jobs: Backend, submit: Callable[..., Job]) -> None:
        self.ended(submit("print('here')", hyperparameters={"epochs": "2"}))
        job = Job.attach("job", backend=same_jobs)
        assert job.status == "Completed"
        assert job.describe().hyperparameters == {"epochs": "2"}
        assert self.lines(job) == ["here"]

    def test_an_unknown_job_is_an_error(self, backend: Backend) -> None:
        with pytest.raises(JobError, match="no job nowhere"):
            Job.attach("nowhere", backend=backend)
        for ask in (backend.stop, backend.artifact, backend.output, backend.read_log, backend.metric_history):
            with pytest.raises(JobError, match="no job nowhere"):
                ask("nowhere")

    def test_jobs_side_by_side_do_not_mix(self, backend: Backend, submit: Callable[..., Job]) -> None:
        script = """
            import json, os, pathlib
            number = json.loads(os.environ["SM_HPS"])["number"]
            print("breedclf-metrics " + json.dumps({"epoch": number}))
            pathlib.Path(os.environ["SM_MODEL_DIR"], "number").write_text(str(number))
        """
        jobs = [submit(script, f"job-{n}", hyperparameters={"number": str(n)}, cores=1) for n in range(3)]
        for number, job in enumerate(jobs):
            self.ended(job)
            assert job.metrics == {"epoch": number}
            assert (job.artifact / "number").read_text() == str(number)
        assert [job.name for job in backend.list_jobs()] == ["job-0", "job-1", "job-2"]

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("a" * 64, "has 64 characters; at most 63"),
            ("with space", "letters, digits and hyphens"),
            ("-begin", "letters, digits and hyphens"),
            ("../up", "letters, digits and hyphens"),
        ],
    )
    def test_wrong_names_are_refused(self, submit: Callable[..., Job], name: str, message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            submit("pass", name="x").backend.submit(JobSpec(name=name))

    def test_a_name_of_63_characters_works_and_a_taken_one_does_not(self, submit: Callable[..., Job]) -> None:
        self.ended(submit("pass", "a" * 63))
        with pytest.raises(ConfigError, match="is taken"):
            submit("pass", "a" * 63)

    @pytest.mark.parametrize(
        ("pairs", "message"),
        [
            ({f"h{n}": "1" for n in range(101)}, "101 hyperparameters: a job takes at most 100"),
            ({"long": "x" * 2501}, "long has 2501 characters; a job takes at most 2500"),
            ({"quote": "it's"}, "single quote"),
            ({"with-dash": "1"}, "letters, digits and _"),
            ({"api_key": "x"}, "api_key looks like a secret"),
            ({"HF_TOKEN": "x"}, "HF_TOKEN looks like a secret"),
            ({"db_password": "x"}, "db_password looks like a secret"),
            ({"note": "AKIA" + "A" * 16}, "note looks like a secret"),
        ],
    )
    def test_wrong_hyperparameters_are_refused(
        self, submit: Callable[..., Job], pairs: dict[str, str], message: str
    ) -> None:
        with pytest.raises(ConfigError, match=message):
            submit("pass", hyperparameters=pairs)

    def test_hyperparameters_reach_the_job_as_environment_and_arguments(self, submit: Callable[..., Job]) -> None:
        pairs = {"epochs": "3", "learning_rate": "0.005", "weights": "none", "quoted": '"adam"', "on": "true"}
        job = self.ended(
            submit(
                """
                import json, os, sys
                print(json.dumps([json.loads(os.environ["SM_HPS"]), os.environ["SM_HP_EPOCHS"], sys.argv[1:]]))
                """,
                hyperparameters=pairs,
            )
        )
        values, epochs, arguments = json.loads(next(line for line in job.logs() if line.startswith("[{")))
        assert values == {"epochs": 3, "learning_rate": 0.005, "weights": "none", "quoted": "adam", "on": True}
        assert epochs == "3"
        assert arguments[arguments.index("--quoted") + 1] in ('"adam"', "adam")  # the toolkit removes the quotes

    def test_a_job_reads_its_channels_and_environment(self, submit: Callable[..., Job], tmp_path: Path) -> None:
        folder, file = tmp_path / "images", tmp_path / "weights.bin"
        folder.mkdir()
        (folder / "one.txt").write_text("1")
        file.write_bytes(b"w")
        script = """
            import os
            base = os.environ["SM_CHANNEL_TRAINING"]
            weights = os.listdir(os.environ["SM_CHANNEL_WEIGHTS"])
            print(f"{sorted(os.listdir(base))} {weights} {os.environ['SM_NUM_GPUS']}")
            print(f"{os.path.isdir(os.environ['SM_INPUT_CONFIG_DIR'])} {os.environ['TRAINING_JOB_NAME']}")
        """
        job = self.ended(submit(script, channels={"training": folder, "weights": file}, gpus=0))
        assert self.lines(job) == ["['one.txt'] ['weights.bin'] 0", "True job"]

    def test_a_channel_that_is_not_there_is_refused(self, submit: Callable[..., Job], tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="channel training: .*gone is not there"):
            submit("pass", channels={"training": tmp_path / "gone"})

    def test_a_request_can_be_inspected_without_sending_it(self, backend: Backend) -> None:
        request = backend.request_for(JobSpec("job", {"epochs": "2"}))
        assert json.dumps(request, default=str).count("epochs") >= 1
        assert backend.list_jobs() == []

    def test_a_job_that_ended_can_be_deleted(self, backend: Backend, submit: Callable[..., Job]) -> None:
        self.ended(submit("pass"))
        backend.delete("job")
        assert backend.list_jobs() == []
        with pytest.raises(JobError, match="no job job"):
            backend.describe("job")
        self.ended(submit("pass"))  # its name can be used again

    def test_a_running_job_has_no_results_yet(self, backend: Backend, submit: Callable[..., Job]) -> None:
        self.need_background()
        job = submit(_RUNS_LONG)
        try:
            with pytest.raises(JobTimeoutError, match="job job is still InProgress .* after 0.1 seconds; it goes on"):
                job.wait(timeout_seconds=0.1)
            for ask in (backend.artifact, backend.output, backend.delete):
                with pytest.raises(JobError, match="job job is still InProgress"):
                    ask("job")
        finally:
            job.stop()
        assert self.ended(job).status == "Stopped"

    def test_several_may_wait_for_one_job(self, same_jobs: Backend, submit: Callable[..., Job]) -> None:
        self.need_background()
        job = submit("import time\ntime.sleep(0.3)")
        statuses: list[str] = []
        waiters = [
            threading.Thread(target=lambda: statuses.append(self.ended(Job("job", same_jobs)).status)) for _ in range(3)
        ]
        for waiter in waiters:
            waiter.start()
        self.ended(job)
        for waiter in waiters:
            waiter.join(self.timeout_seconds)
        assert statuses == ["Completed"] * 3

    def test_the_log_can_be_followed_while_the_job_runs(self, submit: Callable[..., Job]) -> None:
        self.need_background()
        job = submit("import time\nprint('first', flush=True)\ntime.sleep(60)")
        lines = job.logs(follow=True)
        assert "first" in lines
        assert job.status == "InProgress"
        job.stop()
        assert "first" not in list(lines)
