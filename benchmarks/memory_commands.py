"""Peak memory of each command on 1,000 and 20,000 images, compared with the leanest other library's training.

The images are small and generated, the network is EfficientNet-Lite0 with random weights. `train` computes the
features, which the commands after it find in the cache. Memory is that of the process tree, where shared pages count
once (Linux only). The other libraries train on a few of these images, since their need hardly depends on the number;
without their environment (`make bench-peers`) the plain loop stands for them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.few_images import link
from benchmarks.measuring import at_most, parser_for, peers_environment, report
from benchmarks.memory import draw
from benchmarks.trainings import LIBRARIES, UNABLE, one_training, peak_bytes

NETWORK = "timm:tf_efficientnet_lite0"
CLASSES, COUNTS = 10, (1_000, 20_000)
OF_TEN = {"train": 7, "valid": 1, "test": 2}
FEW = 200
GRID = ["--learning-rate", "0.0005,0.001", "--batch-size", "32,64", "--epochs", "1,2,3", "--strategy", "grid"]


def main() -> int:
    parser = parser_for(__doc__, quick={"counts": (200, 1_000), "libraries": ("plain",)})
    parser.add_argument("--counts", type=int, nargs=2, default=COUNTS, help="numbers of images (default: 1000 20000)")
    parser.add_argument("--libraries", nargs="+", default=LIBRARIES[1:], help="other libraries (default: all)")
    given = parser.parse_args()
    if find_spec("timm") is None or not Path("/proc/self/smaps_rollup").exists():
        parser.exit(0, "skipped: it needs timm, and the kernel's sums of shared memory\n")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        drawn = sorted(draw(made(home / "drawn"), max(given.counts)).glob("*.jpg"))
        runs = {
            count: commands(arranged(drawn[:count], home / str(count)), home / f"out{count}") for count in given.counts
        }
        others = peers(arranged(drawn[:FEW], home / "few"), given.libraries)
    leanest, (first, last) = min(others, key=others.__getitem__), given.counts
    more = {name: (runs[last][name] - runs[first][name]) / (last - first) / 1e3 for name in runs[last]}
    goals = [
        at_most(f"{name} on {last:,} images: peak memory over {leanest}'s", peak / others[leanest], 1.0)
        for name, peak in runs[last].items()
    ]
    return report("memory_commands", goals, {"bytes": runs, "KB per image more": more, "others": others}, given)


def commands(data: Path, output: Path) -> dict[str, int]:
    """The peak memory in bytes of each command."""
    network = ["--architecture", NETWORK, "--weights", "none", "--learning-rate", "0.001"]
    model, tests = str(output / "train/model"), str(data / "test")
    words: dict[str, list[str]] = {
        "train": ["train", str(data), *network, "--output", str(output / "train")],
        "train again": ["train", str(data), *network, "--output", str(output / "again")],
        "tune": ["tune", str(data), *network[:4], *GRID, "--output", str(output / "tune")],
        "evaluate": ["evaluate", model, str(data), "--output", str(output / "evaluation")],
        "predict": ["predict", model, tests, "--json"],
        "data check": ["data", "check", str(data)],
        "data review": [
            "data",
            "review",
            str(data),
            *network[:4],
            "--min-accuracy",
            "0",
            "--output",
            str(output / "review"),
        ],
        "profile": ["profile", str(data), *network, "--output", str(output / "profile")],
        "export": ["export", model, "--output", str(output / "model.onnx")],
    }
    return {name: peak_of(name, command, output) for name, command in words.items()}


def peak_of(name: str, command: list[str], output: Path) -> int:
    environment = os.environ | {"BREEDCLF_CACHE_DIR": str(output / "cache"), "BREEDCLF_HOME": str(output / "home")}
    log = made(output) / f"{name}.log"
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "breedclf", *command], stdout=file, stderr=subprocess.STDOUT, env=environment
        )
        peak = peak_bytes(process)
    if process.returncode not in ((0, 1) if name.startswith("data") else (0,)):  # 1: it found problems
        sys.exit(f"{name} ended with {process.returncode}:\n{log.read_text()[-3000:]}")
    print(f"  {output.name.removeprefix('out')} images, {name}: {peak / 2**20:.0f} MiB", file=sys.stderr, flush=True)
    return peak


def peers(data: Path, libraries: list[str]) -> dict[str, int]:
    """The peak memory in bytes of the other libraries' training, as they ship."""
    python = peers_environment()
    found: dict[str, int] = {}
    for library in libraries if python else ["plain"]:
        if (library, NETWORK) not in UNABLE:
            settings: dict[str, Any] = {"data": data, "network_name": NETWORK, "precision": "shipped", "seed": 0}
            found[library] = one_training(python or Path(sys.executable), library, settings)["memory_bytes"]
            print(f"  {library}: {found[library] / 2**20:.0f} MiB", file=sys.stderr, flush=True)
    return found


def arranged(images: list[Path], folder: Path) -> Path:
    """The images as a dataset with splits and classes."""
    splits = [split for split, count in OF_TEN.items() for _ in range(count)]
    for number, path in enumerate(images):
        link([path], folder / splits[number // CLASSES % len(splits)] / f"class{number % CLASSES}")
    return folder


def made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


if __name__ == "__main__":
    sys.exit(main())
