"""Jobs that misbehave, disks that are full, clocks that jump, and supervisors that are killed."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from breedclf.backends.common.folder import JobFolder, job_folder
from breedclf.backends.common.locks import try_lock
from breedclf.backends.common.processes import Identity
from breedclf.backends.local.backend import LocalBackend
from breedclf.errors import ConfigError, JobError
from breedclf.jobs import JobSpec, SecondaryStatus
from breedclf.jobs.handle import Job
from breedclf.testing.backend_cases import script_source
from tests.backends.conftest import processes_of
from tests.fakes import FakeClock
from tests.waiting import PATIENCE_SECONDS, until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the local backend needs POSIX processes")

Submit = Callable[..., Job]

STUBBORN_FAMILY = """
    import os, signal, subprocess, sys, time
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(300)"
    subprocess.Popen([sys.executable, "-c", child])
    subprocess.Popen([sys.executable, "-c", child], start_new_session=True)
    print("ready", flush=True)
    time.sleep(300)
"""


def ended(job: Job) -> Job:
    return job.wait(timeout=PATIENCE_SECONDS, check=False)


def has_printed(job: Job, text: str) -> Callable[[], bool]:
    return lambda: text in "\n".join(job.logs())


def test_a_job_that_hangs_is_killed_with_everything_it_started(backend: LocalBackend, submit: Submit) -> None:
    job = submit(STUBBORN_FAMILY)
    until(has_printed(job, "ready"))
    assert len(processes_of(backend.home)) >= 4  # the supervisor and the job's three
    job.stop()
    assert ended(job).status == "Stopped"
    until(lambda: not processes_of(backend.home))


def test_children_left_behind_by_a_job_are_killed(backend: LocalBackend, submit: Submit) -> None:
    job = submit("""
        import subprocess, sys
        for session in (False, True):
            subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"], start_new_session=session)
        print("bye")
    """)
    started = time.monotonic()
    assert ended(job).status == "Completed"
    assert time.monotonic() - started < 60
    until(lambda: not processes_of(backend.home))


def test_a_long_log_is_bounded_and_its_metrics_are_read(tmp_path: Path) -> None:
    backend = LocalBackend(tmp_path / "home", cores=1, gpus=(), max_log_bytes=100_000)
    script = """
        print("the start")
        for number in range(20_000):
            print("x" * 100)
            if number == 15_000:
                print('breedclf-metrics {"epoch": 7}')
        print("the end")
    """
    backend.submit(JobSpec("job", source=script_source(tmp_path / "source", script)))
    job = ended(Job("job", backend))
    assert job.status == "Completed"
    assert job.metrics == {"epoch": 7}
    lines = list(job.logs())
    assert lines[0] == "the start"
    assert lines[-1] == "the end"
    assert any("the log is too long" in line for line in lines)
    assert any("bytes were dropped here" in line for line in lines)
    assert job_folder(backend.home, "job").log_file.stat().st_size < 200_000


def test_a_very_long_line_is_logged(submit: Submit) -> None:
    job = ended(submit("import sys\nfor _ in range(50): sys.stdout.write('y' * 100_000)\nsys.stdout.write('\\nz')"))
    assert job.status == "Completed"
    assert list(job.logs())[-1] == "z"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_fails_the_job_with_its_reason(tmp_path: Path) -> None:
    class FullDiskBackend(LocalBackend):
        def _start_supervisor(self, folder: JobFolder) -> None:
            folder.log_file.symlink_to("/dev/full")  # every write to it fails as on a full disk
            super()._start_supervisor(folder)

    backend = FullDiskBackend(tmp_path / "home", cores=1, gpus=())
    script = "import time\nprint('a line', flush=True)\ntime.sleep(300)"
    backend.submit(JobSpec("job", source=script_source(tmp_path / "source", script)))
    job = ended(Job("job", backend))
    assert job.status == "Failed"
    assert "no space left on the disk of" in str(job.failure_reason)
    until(lambda: not processes_of(backend.home))


def test_a_job_is_lost_when_its_supervisor_is_killed(backend: LocalBackend, submit: Submit) -> None:
    job = submit(STUBBORN_FAMILY)
    until(has_printed(job, "ready"))
    supervisor = job_folder(backend.home, "job").read().supervisor
    assert supervisor is not None
    os.kill(supervisor["pid"], signal.SIGKILL)
    until(lambda: not psutil.pid_exists(supervisor["pid"]))
    threads = [threading.Thread(target=job.describe) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    ended(job)
    description = job.describe()
    assert description.status == "Failed"
    assert description.lost
    assert str(description.failure_reason).startswith("supervisor lost")
    failed = [each for each in description.transitions if each.status == SecondaryStatus.FAILED]
    assert len(failed) == 1  # the first describe marked it, the others read that
    until(lambda: not processes_of(backend.home))
    assert ended(submit("print('the slot is free')", "next")).status == "Completed"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
def test_a_job_dies_with_its_supervisor_before_anyone_calls_describe(backend: LocalBackend, submit: Submit) -> None:
    job = submit("import time\nprint('on', flush=True)\ntime.sleep(300)")
    until(has_printed(job, "on"))
    state = job_folder(backend.home, "job").read()
    assert state.supervisor is not None and state.process is not None
    os.kill(state.supervisor["pid"], signal.SIGKILL)
    child = Identity.from_dict(state.process)
    until(lambda: not child.is_alive)


def test_a_supervisor_that_never_started_is_a_failed_job(tmp_path: Path) -> None:
    class NoSupervisor(LocalBackend):
        def _start_supervisor(self, folder: JobFolder) -> None:
            pass

    clock = FakeClock()
    backend = NoSupervisor(tmp_path / "home", cores=1, gpus=(), clock=clock)
    backend.submit(JobSpec("job", source=script_source(tmp_path / "source", "pass")))
    assert backend.describe("job").status == "InProgress"
    clock.advance(61)
    assert backend.describe("job").status == "Failed"


@pytest.mark.parametrize("jump", [-400 * 86_400.0, 400 * 86_400.0])
def test_a_clock_jump_doesnt_lose_jobs(backend: LocalBackend, submit: Submit, tmp_path: Path, jump: float) -> None:
    class JumpedClock:
        def time(self) -> float:
            return time.time() + jump

        def monotonic(self) -> float:
            return time.monotonic()

        def sleep(self, seconds: float, /) -> None:
            time.sleep(seconds)

    go = tmp_path / "go"
    waits = f"while not os.path.exists({str(go)!r}):\n    time.sleep(0.05)"
    job = submit(f"import os, time\nprint('on', flush=True)\n{waits}")
    until(has_printed(job, "on"))
    other = LocalBackend(backend.home, clock=JumpedClock())
    state = job_folder(backend.home, "job").read()
    assert state.supervisor is not None
    shifted = {**state.to_dict(), "supervisor": {"pid": state.supervisor["pid"], "create_time": 1.0}}
    job_folder(backend.home, "job").state_file.write_text(json.dumps(shifted))  # as the times look after a jump
    assert other.describe("job").status == "InProgress"
    go.touch()
    assert ended(Job("job", other)).status == "Completed"


def test_a_folder_of_a_newer_version_is_refused(
    backend: LocalBackend, submit: Submit, caplog: pytest.LogCaptureFixture
) -> None:
    ended(submit("pass", "new"))
    ended(submit("pass", "old"))
    file = job_folder(backend.home, "new").state_file
    file.write_text(json.dumps({**json.loads(file.read_text()), "version": 99}))
    with pytest.raises(JobError, match=r"another version of breedclf \(format 99; this version reads 1\)"):
        backend.describe("new")
    with caplog.at_level(logging.WARNING, "breedclf"):
        logging.getLogger("breedclf").propagate = True
        assert [job.name for job in backend.list_jobs()] == ["old"]
    assert "job skipped: job new was written by another version of breedclf" in caplog.text


def test_a_damaged_job_can_be_deleted(backend: LocalBackend, submit: Submit) -> None:
    ended(submit("pass"))
    job_folder(backend.home, "job").state_file.write_text("{")
    with pytest.raises(JobError, match="is damaged"):
        backend.describe("job")
    supervisor = try_lock(job_folder(backend.home, "job").lock_file)  # as one that is about to exit
    while supervisor is None:
        supervisor = try_lock(job_folder(backend.home, "job").lock_file)
    threading.Timer(0.3, os.close, [supervisor]).start()
    backend.delete("job")
    assert not job_folder(backend.home, "job").path.exists()


def test_parallel_jobs_share_no_core_and_a_waiting_one_can_be_stopped(backend: LocalBackend, submit: Submit) -> None:
    script = """
        import fcntl, os, time
        held = open(os.environ["HOME_OF_TEST"] + "/owner-" + os.environ["BREEDCLF_CORES"], "w")
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        print("on", os.environ["OMP_NUM_THREADS"], os.environ["SM_NUM_CPUS"], flush=True)
        while not os.path.exists(os.environ["HOME_OF_TEST"] + "/go"):
            time.sleep(0.05)
    """
    backend.home.mkdir(parents=True, exist_ok=True)
    environment = {"HOME_OF_TEST": str(backend.home)}
    jobs = [submit(script, f"job-{n}", environment=environment) for n in range(3)]
    waiting = submit(script, "waiting", environment=environment)
    until(lambda: waiting.secondary_status == "Pending")
    waiting.stop()
    assert ended(waiting).status == "Stopped"
    (backend.home / "go").touch()
    assert [ended(job).status for job in jobs] == ["Completed"] * 3
    assert list(jobs[0].logs()) == ["on 1 1"]
    spans = sorted((job.describe().started, job.describe().ended) for job in jobs)
    assert all(before[1] <= after[0] for before, after in pairwise(spans))  # type: ignore[operator]


def test_more_cores_or_gpus_than_available_are_refused(submit: Submit) -> None:
    with pytest.raises(ConfigError, match="cores=9: only 1 are available for jobs"):
        submit("pass", cores=9)
    with pytest.raises(ConfigError, match="gpus=1: only 0 are available for jobs"):
        submit("pass", gpus=1)


def test_only_checkpoints_survive_a_spot_interruption(backend: LocalBackend, submit: Submit) -> None:
    job = submit(
        """
        import os, pathlib, time
        marker = pathlib.Path(os.environ["SM_CHECKPOINT_DIR"], "started")
        model = pathlib.Path(os.environ["SM_MODEL_DIR"])
        if not marker.exists():
            marker.write_text("")
            (model / "half").write_text("")
            print("first run", flush=True)
            time.sleep(300)
        print("second run", sorted(os.listdir(model)), flush=True)
        (model / "whole").write_text("")
        """,
        spot=True,
    )
    until(has_printed(job, "first run"))
    backend.interrupt("job")
    assert ended(job).status == "Completed"
    assert list(job.logs()) == ["first run", "second run []"]
    states = [each.status for each in job.describe().transitions]
    assert states.index(SecondaryStatus.INTERRUPTED) < states.index(SecondaryStatus.RESTARTING)
    assert states.count(SecondaryStatus.TRAINING) == 2
    assert [path.name for path in job.artifact.iterdir()] == ["whole"]


def test_only_spot_jobs_can_be_interrupted(backend: LocalBackend, submit: Submit) -> None:
    ended(submit("pass"))
    with pytest.raises(ConfigError, match="was not submitted with spot=True"):
        backend.interrupt("job")


def test_a_job_inherits_few_variables(submit: Submit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    job = ended(submit("import os\nprint(sorted(k for k in os.environ if k.startswith(('AWS', 'PYTHON'))))"))
    assert list(job.logs()) == ["['PYTHONIOENCODING', 'PYTHONUNBUFFERED']"]


WAITING = """
import sys
from breedclf.backends.local.backend import LocalBackend
from breedclf.jobs.handle import Job
job = Job.attach("job", backend=LocalBackend(sys.argv[1], stop_grace_seconds=1))
job.wait(progress=lambda _: print("waiting", flush=True))
"""


@pytest.mark.parametrize("presses", [1, 2])
def test_ctrl_c_detaches_and_twice_stops(backend: LocalBackend, submit: Submit, presses: int) -> None:
    job = submit("import time\ntime.sleep(300)")
    waiter = subprocess.Popen(
        [sys.executable, "-c", WAITING, str(backend.home)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert waiter.stdout is not None and waiter.stderr is not None
    with waiter:
        assert waiter.stdout.readline() == "waiting\n"
        waiter.send_signal(signal.SIGINT)
        output = waiter.stderr.readline() + waiter.stderr.readline()
        assert "job job goes on; come back with Job.attach('job', backend=...)" in output
        if presses == 2:
            waiter.send_signal(signal.SIGINT)
        rest = waiter.communicate(timeout=PATIENCE_SECONDS)[1]
    assert waiter.returncode != 0
    assert "KeyboardInterrupt" in rest
    if presses == 2:
        assert "asked job job to stop" in rest
        assert ended(job).status == "Stopped"
    else:
        assert job.status == "InProgress"


def test_a_job_outlives_the_process_that_started_it(tmp_path: Path) -> None:
    source = script_source(tmp_path / "source", "import time\ntime.sleep(0.5)\nprint('still here')")
    program = (
        "import sys\nfrom breedclf.backends.local.backend import LocalBackend\nfrom breedclf.jobs import JobSpec\n"
        "from pathlib import Path\n"
        "LocalBackend(sys.argv[1], cores=1).submit(JobSpec('job', source=Path(sys.argv[2])))\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "home"), str(source)], check=True, timeout=60)
    job = ended(Job.attach("job", backend=LocalBackend(tmp_path / "home")))
    assert list(job.logs()) == ["still here"]
