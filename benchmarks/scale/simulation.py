"""The index of a feature set with millions of images: random digests, and rows of zeros that are as short as can be.

Everything goes through the feature store; what is simulated are the images, and the length of their features.
"""

from __future__ import annotations

import json
import resource
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from numpy.typing import NDArray

from benchmarks.scale.runs import Setup, say, timed
from breedclf.data.split import ImageFiles, Split
from breedclf.features.store.feature_set import FeatureSet
from breedclf.features.store.index import Rows
from breedclf.features.store.spec import FeatureSpec
from breedclf.features.store.store import FeatureStore

VALUES = 8
ROW_BYTES = 4 * VALUES
_AT_A_TIME = 1 << 18
_LOOKUPS = 20_000
_MOST_LISTED = 1_000_000
_WRITE, _WRITES = 64, 20
_SPEC = FeatureSpec("simulated", "head", {}, "fp32", "none")


def simulation(setup: Setup) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Fill an index, open and use it in another process, and list as many images; there are no goals."""
    folder, entries = setup.folder / "simulated", setup.entries
    found = {}
    for name in ("fill", "use", "list"):
        command = [sys.executable, "-m", "benchmarks.scale.simulation", name, str(folder), str(entries)]
        found[name] = json.loads(timed(command)[0].splitlines()[-1])
        say(f"{name}: " + ", ".join(f"{key} {value:.4g}" for key, value in found[name].items()))
    shutil.rmtree(folder)
    return [], {"entries": entries, **found}


def digests(first: int, count: int) -> NDArray[np.uint8]:
    """Random digests in ascending order, uint8 [N, 16], which depend on nothing but `first` and `count`."""
    found = np.random.default_rng(first).integers(0, 256, (count, 16), dtype=np.uint8)
    return found[np.lexsort(found.T[::-1])]


def fill(folder: Path, entries: int) -> dict[str, float]:
    """Append all images, many in each transaction, in the order of the index: a pass of 64 at a time takes longer."""
    started = time.perf_counter()
    with _opened(folder) as stored:
        for first in range(0, entries, _AT_A_TIME):
            count = min(_AT_A_TIME, entries - first)
            stored.append(digests(first, count), torch.zeros(count, VALUES))
            if first % (8 * _AT_A_TIME) == 0:
                print(f"  {first:,} images, {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
    seconds = time.perf_counter() - started
    size = sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())
    return {"seconds": seconds, "index bytes per image": size / entries - ROW_BYTES, "peak MB": _peak_mb()}


def use(folder: Path, entries: int) -> dict[str, float]:
    """Open the set, find known and unknown images, and append a few as a pass does."""
    before = _rss_mb()
    started = time.perf_counter()
    stored = _opened(folder)
    opened = time.perf_counter()
    known = np.concatenate([digests(first, min(_AT_A_TIME, entries - first)) for first in _some_starts(entries)])
    known = np.random.default_rng(0).permutation(known)[:_LOOKUPS]
    asked = time.perf_counter()
    assert stored.find(known).found.all()
    answered = time.perf_counter()
    assert not stored.find(digests(-1 % 2**32, _LOOKUPS)).found.any()
    unknown_seconds = time.perf_counter() - answered
    memory = _rss_mb() - before
    writing = time.perf_counter()
    for number in range(_WRITES):
        stored.append(digests(2**33 + number, _WRITE), torch.zeros(_WRITE, VALUES))
    written = time.perf_counter()
    stored.close()
    return {
        "open seconds": opened - started,
        "known images found per second": len(known) / (answered - asked),
        "unknown images looked up per second": _LOOKUPS / unknown_seconds,
        "MB after opening and lookups": memory,
        f"milliseconds to append {_WRITE} images": 1e3 * (written - writing) / _WRITES,
        "peak MB": _peak_mb(),
    }


def listed(folder: Path, entries: int) -> dict[str, float]:
    """Hold the paths, targets, digests and rows of images, as a run does; nothing is read."""
    entries = min(entries, _MOST_LISTED)
    before = _rss_mb()
    images = ImageFiles([folder / f"train/class-{at % 100:03}/{at:08}.jpg" for at in range(entries)])
    split = Split("train", images, tuple(at % 100 for at in range(entries)))
    rows, contents = Rows.missing(entries), np.zeros((entries, 16), np.uint8) + np.uint8(1)
    for values in (rows.shards, rows.rows, rows.checksums):
        values += 1
    used = 1e6 * (_rss_mb() - before) / entries
    assert len(split) == len(rows.shards) == len(contents)
    return {"bytes per listed image": used, "MB for its modules": before}


def _some_starts(entries: int) -> list[int]:
    """The first images of some batches, over the whole range."""
    starts = list(range(0, entries, _AT_A_TIME))
    return starts[:: max(1, len(starts) // 16)]


def _opened(folder: Path) -> FeatureSet:
    return FeatureStore(folder).open(_SPEC)


def _rss_mb() -> float:
    return float(psutil.Process().memory_info().rss) / 1e6


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


if __name__ == "__main__":
    action, place, count = sys.argv[1:]
    print(json.dumps({"fill": fill, "use": use, "list": listed}[action](Path(place), int(count))))
