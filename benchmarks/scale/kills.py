"""Training runs that are killed at random moments, and started again."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.measuring import at_most
from benchmarks.scale.images import write_images
from benchmarks.scale.runs import Setup, say, train

_MODEL = "model/model.safetensors"
_WAIT_SECONDS = 300.0


def kills(setup: Setup) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Kill runs during the pass over their images, then complete them: images computed twice, and the head.

    A process counts the images that pass through its backbone in a file, which outlives it.
    """
    count, times = setup.images(640, 192) // 32 * 32, setup.times(20, 2)
    data = write_images(setup.folder / "killed", {"train": count - 64, "valid": 64})
    undisturbed = train(setup, data, "undisturbed", cache="undisturbed-cache")
    head = (setup.folder / "undisturbed" / _MODEL).read_bytes()
    moments, lost, equal = random.Random(0), [], 0
    for number in range(times):
        at_image = moments.uniform(0, count)
        passed = _killed(setup, data, at_image)
        again = train(setup, data, "killed-model", cache="killed-cache")
        lost.append(min(passed, count) + again.computed - count)
        equal += (setup.folder / "killed-model" / _MODEL).read_bytes() == head
        say(f"{number + 1}/{times}: killed after {passed} images, {lost[-1]} lost")
        for name in ("killed-model", "killed-cache"):
            shutil.rmtree(setup.folder / name)
    shutil.rmtree(data)
    goals = [
        at_most(f"images lost by kill -9, most of {times} times", max(lost), 64),
        at_most(f"heads that differ from an undisturbed run's, of {times}", times - equal, 0),
    ]
    assert undisturbed.computed == count
    return goals, {"images": count, "lost": lost}


def _killed(setup: Setup, data: Path, at_image: float) -> int:
    """Start a run, kill it a moment after this many images, and return how many passed through its backbone."""
    counter = setup.folder / "passed"
    counter.unlink(missing_ok=True)
    words = [data, setup.folder / "killed-model", setup.folder / "killed-cache", setup.weights, counter]
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.scale.counted", *map(str, words)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until = time.monotonic() + _WAIT_SECONDS
    while _passed(counter) <= at_image and process.poll() is None and time.monotonic() < until:
        time.sleep(0.005)
    time.sleep(random.Random(at_image).uniform(0, 0.3))
    process.send_signal(signal.SIGKILL)
    process.wait()
    return _passed(counter)


def _passed(counter: Path) -> int:
    try:
        return sum(map(int, counter.read_text().split()))
    except FileNotFoundError:
        return 0
