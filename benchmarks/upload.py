"""Uploading ten thousand small files to S3, and again unchanged, compared with `aws s3 sync` on the same server.

The AWS command line is looked for on the PATH, or where BREEDCLF_AWS_CLI points; give it an environment of its own:

python -m venv awscli && awscli/bin/pip install awscli && BREEDCLF_AWS_CLI=awscli/bin/aws python -m benchmarks.upload
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measuring import arguments, at_most, ratios, report

FILES, QUICK_FILES = 10_000, 300
FILE_BYTES = 4_096
FOLDERS = 100
_SERVER = """
import logging, time
logging.getLogger("werkzeug").setLevel(logging.ERROR)
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
print(*server.get_host_and_port(), sep=":", flush=True)
while True:
    time.sleep(3600)
"""


@contextlib.contextmanager
def s3() -> Iterator[str]:
    """moto's S3 server, in a separate process whose CPU time isn't counted."""
    server = subprocess.Popen([sys.executable, "-c", _SERVER], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        yield f"http://{server.stdout.readline().strip()}"
    finally:
        server.kill()
        server.wait()


def write_files(folder: Path, count: int) -> None:
    for number in range(count):
        path = folder / f"{number % FOLDERS:03d}" / f"{number:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(FILE_BYTES))


def timed(command: list[str], environment: dict[str, str]) -> dict[str, float]:
    """Wall seconds and CPU seconds of a process."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed: {done.stderr[-2000:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall": wall, "cpu": cpu}


def main() -> int:
    given = arguments(__doc__, repeats=3, needs_data=False)
    files = QUICK_FILES if given.quick else FILES
    aws = os.environ.get("BREEDCLF_AWS_CLI") or shutil.which("aws")
    if aws is None:
        print("skipped: no AWS command line; see the docstring of benchmarks/upload.py", file=sys.stderr)
        return 0
    found: dict[str, list[dict[str, float]]] = {"breedclf": [], "aws": [], "breedclf again": [], "aws again": []}
    with tempfile.TemporaryDirectory() as folder, s3() as url:
        write_files(Path(folder), files)
        environment = {
            **os.environ,
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": "benchmark",
            "AWS_SECRET_ACCESS_KEY": "benchmark",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        for repeat in range(given.repeats):
            for name in ("breedclf", "aws"):  # separate buckets: moto's listings are slower in full ones
                make = [aws, "s3", "mb", f"s3://{name}-{repeat}"]
                subprocess.run(make, env=environment, check=True, capture_output=True)
            for again in ("", " again"):
                for name in ("breedclf", "aws"):
                    target = f"s3://{name}-{repeat}/files"
                    command = {
                        "breedclf": [sys.executable, "-m", "breedclf", "data", "upload", folder, target],
                        "aws": [aws, "s3", "sync", folder, target],
                    }[name]
                    more = {"breedclf": ["--no-check", "--quiet"], "aws": ["--only-show-errors"]}[name]
                    seconds = timed([*command, *more], environment)
                    found[name + again].append(seconds)
                    print(f"  {name}{again}: {seconds['wall']:.1f} s, {seconds['cpu']:.1f} s CPU", file=sys.stderr)
    compared = {
        kind + again: ratios(
            [each[kind] for each in found[f"breedclf{again}"]], [e[kind] for e in found[f"aws{again}"]]
        )
        for kind in ("wall", "cpu")
        for again in ("", " again")
    }
    goals = [
        at_most(f"{files:,} files, wall seconds / those of aws s3 sync", compared["wall"]["median"], 1.0),
        at_most(f"{files:,} files, CPU seconds of the client / those of aws s3 sync", compared["cpu"]["median"], 1.0),
    ]
    medians = {
        name: {kind: statistics.median(each[kind] for each in runs) for kind in ("wall", "cpu")}
        for name, runs in found.items()
    }
    return report("upload", goals, {"seconds": found, "medians": medians, "ratios": compared}, given)


if __name__ == "__main__":
    sys.exit(main())
