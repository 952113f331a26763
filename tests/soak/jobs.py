"""`make soak`: many jobs started, stopped and killed at random moments; nothing may be lost, left over or owned twice.

python -m tests.soak.jobs --jobs 200 --seed 1
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import random
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from breedclf.backends.common.folder import job_folder
from breedclf.backends.common.processes import Identity
from breedclf.backends.local.backend import LocalBackend
from breedclf.jobs import JobSpec
from breedclf.testing.backend_cases import script_source
from tests.backends.conftest import processes_of

MODES = ("quick", "slow", "stubborn", "family", "flood", "fails", "killed")
# Each job takes a lock for every core it was given; two owners of a core would meet there.
SCRIPT = """
    import fcntl, json, os, pathlib, random, signal, subprocess, sys, time
    values = json.loads(os.environ["SM_HPS"])
    kept = []
    for core in os.environ["BREEDCLF_CORES"].split(","):
        owner = open(pathlib.Path(values["place"], f"core-{core}"), "w")
        try:
            fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pathlib.Path(values["place"], f"CONFLICT-{core}-{os.getpid()}").write_text(os.environ["TRAINING_JOB_NAME"])
        kept.append(owner)
    mode = values["mode"]
    if mode == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if mode in ("stubborn", "family"):
        for session in (False, True):
            subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=session)
    print('breedclf-metrics {"epoch": 1}', flush=True)
    if mode == "flood":
        for _ in range(20_000):
            print("y" * 200)
    time.sleep({"quick": 0.0, "flood": 0.0, "fails": 0.1, "killed": 0.1}.get(mode, random.uniform(0.2, 1.5)))
    if mode == "fails":
        sys.exit(3)
    if mode == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    pathlib.Path(os.environ["SM_MODEL_DIR"], "model").write_text("whole")
"""
EXPECTED = {"fails": "Failed", "killed": "Failed"}


def soak(
    home: Path, *, jobs: int, seconds: float, seed: int, parallel: int, preload_share: float = 0.25
) -> dict[str, object]:
    """Run the soak test and return its figures; `problems` is empty on success."""
    draw = random.Random(seed)
    place = home / "place"
    source = script_source(home / "source", SCRIPT)
    place.mkdir()
    plain, preloaded = (
        LocalBackend(home / "jobs-home", cores=parallel, gpus=(), stop_grace_seconds=0.5, preload=preload)
        for preload in (False, True)
    )
    modes: dict[str, str] = {}
    touched: dict[str, str] = {}
    running: list[str] = []
    begun = time.monotonic()
    done = collections.Counter[str]()
    while (len(modes) < jobs or running) and time.monotonic() - begun < seconds:
        if len(modes) < jobs and len(running) < 3 * parallel:
            name, mode = f"job-{len(modes)}", draw.choice(MODES)
            modes[name] = mode
            backend = preloaded if draw.random() < preload_share else plain
            backend.submit(
                JobSpec(name, {"mode": mode, "place": str(place)}, source=source, cores=draw.choice((1, 1, 1, 2)))
            )
            running.append(name)
        if running and draw.random() < 0.6:
            name = draw.choice(running)
            act = draw.choice(("stop", "kill supervisor", "kill job"))
            if _disturb(plain, name, act):
                touched[name] = act
                done[act] += 1
        time.sleep(draw.uniform(0, 0.05))
        running = [name for name in running if not plain.describe(name).status.is_final]
    took = time.monotonic() - begun
    preloaded.close()
    return {**_judge(plain, modes, touched, place), "seconds": round(took, 1), "disturbed": dict(done), "seed": seed}


def _disturb(backend: LocalBackend, name: str, act: str) -> bool:
    """Stop a job or kill one of its processes, if it has one now."""
    if act == "stop":
        backend.stop(name)
        return True
    state = job_folder(backend.home, name).read()
    process = state.supervisor if act == "kill supervisor" else state.process
    if process is None or state.description.status.is_final or not Identity.from_dict(process).is_alive:
        return False
    with suppress(ProcessLookupError):
        os.kill(process["pid"], signal.SIGKILL)
        return True
    return False


def _judge(backend: LocalBackend, modes: dict[str, str], touched: dict[str, str], place: Path) -> dict[str, object]:
    until = time.monotonic() + 10
    while (left := processes_of(backend.home)) and time.monotonic() < until:
        time.sleep(0.1)
    found = {job.name: job for job in backend.list_jobs()}
    problems = [f"{name} is lost" for name in modes if name not in found]
    problems += [f"{job.name} is still {job.status}" for job in found.values() if not job.status.is_final]
    for name, job in found.items():
        expected = EXPECTED.get(modes[name], "Completed")
        if name not in touched and job.status != expected:
            problems.append(f"{name} ({modes[name]}) is {job.status}, not {expected}: {job.failure_reason}")
        if job.status == "Failed" and not job.failure_reason:
            problems.append(f"{name} failed without a reason")
        if job.status == "Completed" and not (backend.artifact(name) / "model").exists():
            problems.append(f"{name} completed without its model")
    orphans = [process.info if hasattr(process, "info") else str(process) for process in left]
    conflicts = sorted(path.name for path in place.glob("CONFLICT-*"))
    problems += [f"orphan {orphan}" for orphan in orphans] + [f"two owners of a core: {name}" for name in conflicts]
    return {
        "jobs": len(modes),
        "statuses": dict(collections.Counter(str(job.status) for job in found.values())),
        "orphans": len(orphans),
        "lost": sum(name not in found for name in modes),
        "cores_with_two_owners": len(conflicts),
        "problems": problems,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=600, help="time limit")
    parser.add_argument("--parallel", type=int, default=4, help="cores given to the jobs")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = soak(Path(folder), jobs=given.jobs, seconds=given.seconds, seed=given.seed, parallel=given.parallel)
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")
    return 1 if figures["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
