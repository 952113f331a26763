"""A head on features that don't fit in memory, read from the store batch by batch, against features loaded at first.

The store is filled with random bfloat16 rows [2,048] for the images of a program, which are never decoded. Each run is
a process of its own, with the whole of `fit`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measuring import at_most, parser_for, ratios, report

IMAGES = 200_000
FEATURES = 2_048
CLASSES = 25
GOAL_MB = 1_200
GOAL_RATIO = 1.3
KINDS = ("loaded", "read")


def main() -> int:
    parser = parser_for(__doc__, quick={"repeats": 1, "images": 2_000})
    parser.add_argument("--images", type=int, default=IMAGES, help=f"images (default: {IMAGES:,})")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each kind (default: 3)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="breedclf-out-of-core-") as folder:
        goals, details = out_of_core(Path(folder), given.images, given.repeats)
    return report("out_of_core", goals, details, given)


def out_of_core(folder: Path, images: int, repeats: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Goals and details; the folder needs 4 KB per image."""
    in_process("fill", folder, images)
    runs: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
    for _ in range(repeats):
        for kind in KINDS:
            run = in_process(kind, folder, images)
            runs[kind].append(run)
            peak, seconds, epochs = run["peak_bytes"] / 1e6, run["seconds"], run["epoch_seconds"]
            print(f"  {kind}: {peak:.0f} MB, {seconds:.1f} s, epochs {epochs}", file=sys.stderr, flush=True)
    peak = max(run["peak_bytes"] for run in runs["read"]) / 1e6
    cost = {
        each: ratios(*([run[each] for run in runs[kind]] for kind in reversed(KINDS)))
        for each in ("seconds", "cpu_seconds", "fastest_epoch")
    }
    what = f"a head on {images:,} x {FEATURES:,} features of the store"
    goals = [
        at_most(f"{what}: peak RSS in MB", peak, GOAL_MB),
        at_most(f"{what}: time over loaded features", cost["seconds"]["median"], GOAL_RATIO),
    ]
    equal = {run["weights"] for kind in KINDS for run in runs[kind]}
    goals.append(at_most(f"{what}: different heads", len(equal), 1))
    return goals, {"images": images, "runs": runs, "ratios": cost}


def in_process(work: str, folder: Path, images: int) -> dict[str, Any]:
    code = "import sys; from benchmarks.out_of_core import WORKS; WORKS[sys.argv[1]](sys.argv[2], int(sys.argv[3]))"
    words = [sys.executable, "-c", code, work, str(folder), str(images)]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


class Numbered:
    """Images with the numbers `first` to `first + count - 1`, as bytes that no decoder needs to understand."""

    def __init__(self, first: int, count: int) -> None:
        self.labels = [f"class {number}" for number in range(CLASSES)]
        self.first, self.targets = first, [number % CLASSES for number in range(count)]

    def __len__(self) -> int:
        return len(self.targets)

    def read(self, index: int) -> bytes:
        return b"image %d" % (self.first + index)


class Plain(Numbered):
    """Images of one color."""

    def read(self, index: int) -> Any:
        return np.full((64, 64), self.first + index, np.uint8)


def fill(folder: str, images: int) -> None:
    """Make the feature set by a run on a few images, and add the rows of all others."""
    import torch

    from breedclf.data.digests import digest_of
    from breedclf.features.store.feature_set import FeatureSet
    from breedclf.features.store.spec import FeatureSpec

    started = time.perf_counter()
    run(folder, Plain(0, CLASSES), Plain(CLASSES, CLASSES))
    (found,) = (Path(folder) / "cache" / "feature-store").glob("*/set.json")
    spec = FeatureSpec(**json.loads(found.read_bytes())["spec"])
    random = torch.Generator().manual_seed(0)
    numbered = Numbered(0, images)
    with FeatureSet(found.parent, spec) as features:
        for first in range(0, images, 8192):
            part = range(first, min(first + 8192, images))
            digests = np.frombuffer(b"".join(digest_of(numbered.read(index)) for index in part), np.uint8)
            rows = torch.rand(len(part), FEATURES, generator=random).bfloat16()
            features.append(digests.reshape(len(part), -1), rows)
    print(json.dumps({"seconds": time.perf_counter() - started}))


def loaded(folder: str, images: int) -> None:
    """Train on features that are loaded at the start."""
    from breedclf.features import memory_budget

    memory_budget.LOADED_BYTES = sys.maxsize
    measured(folder, images)


def measured(folder: str, images: int) -> None:
    """Train, and print the memory and the time."""
    valid = images // 10
    cpu = time.process_time()
    result = run(folder, Numbered(0, images - valid), Numbered(images - valid, valid))
    epochs = [(images - valid) / record.images_per_second for record in result.history]
    about = {
        "peak_bytes": peak_bytes(),
        "seconds": result.seconds,
        "cpu_seconds": time.process_time() - cpu,
        "epoch_seconds": epochs,
        "fastest_epoch": min(epochs),
        "weights": json.loads((result.artifact / "breedclf.json").read_bytes())["weights_sha256"],
    }
    print(json.dumps(about))


WORKS = {"fill": fill, "loaded": loaded, "read": measured}


def run(folder: str, train: Numbered, valid: Numbered) -> Any:
    from breedclf.config import TrainingConfig
    from breedclf.training.fit import fit

    config = TrainingConfig(
        architecture="resnet50",
        weights="none",
        device="cpu",
        precision="bf16",
        epochs=2,
        cache_dir=Path(folder) / "cache",
        output=Path(folder) / "output" / str(os.getpid()),
    )
    return fit(config, {"train": train, "valid": valid})


def peak_bytes() -> int:
    """The peak RSS of this process; `ru_maxrss` would include that of its parent."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


if __name__ == "__main__":
    sys.exit(main())
