"""What a feature bank costs a server: the same weights with and without one, in turns.

python -m benchmarks.serve_bank [--rounds 9] [--requests 96] [--architecture resnet50]

Banks of 133 classes with 50 images each: with all features of the network, and with 128 principal components. Their
rows are random, since the cost doesn't depend on them. One server per model runs all the time, and each is asked in
turn, in alternating order, by 32 clients; the ratio to the model without bank is computed per round, and the median is
reported. The server's CPU time per response is reported, too: other programs on the machine affect it less. The first
prediction is a whole process that loads the model and predicts one image.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil

from benchmarks.measuring import at_least, at_most, parser_for, report
from benchmarks.serve import PATH, SATURATING, server_command
from benchmarks.serving import CLASSES, free_port, image_request, model_folder, photographs, send_traffic, served

IMAGES_PER_CLASS = 50
COMPONENTS = 128
PLAIN, RAW, PCA = "without a bank", "all features", f"{COMPONENTS} components"
_FIRST = """
import sys
from breedclf import Classifier
Classifier(sys.argv[1]).predict(sys.argv[2]).top(5)
"""


def models(root: Path, architecture: Any) -> dict[str, Path]:
    """Three model directories with the same weights."""
    plain = model_folder(root, architecture)
    return {PLAIN: plain, **{name: with_bank(plain, root / name.replace(" ", "-"), name == PCA) for name in (RAW, PCA)}}


def with_bank(model: Path, target: Path, reduced: bool) -> Path:
    """A copy of a model directory with a bank of random rows."""
    import torch
    from torch.nn.functional import normalize

    from breedclf.inference.feature_bank import FeatureBank, LimitedBank
    from breedclf.inference.model_directory import read_artifact, write_artifact
    from breedclf.models.backbones.backbone import find_backbone

    card, state = read_artifact(model)
    width = find_backbone(card.architecture).features
    draw = torch.Generator().manual_seed(0)
    kept = COMPONENTS if reduced else width
    rows = normalize(torch.randn(CLASSES * IMAGES_PER_CLASS, kept, generator=draw), dim=1).half()
    basis = torch.linalg.qr(torch.randn(width, kept, generator=draw)).Q.contiguous() if reduced else None
    bank = LimitedBank(FeatureBank(rows, 5, basis), 1.0, 0.95, "valid", 1_000)
    write_artifact(target, card.model_dump(exclude={"weights_sha256", "feature_bank"}), state, bank=bank)
    return target


def first_prediction(model: Path, image: Path) -> tuple[float, float]:
    """Seconds, and CPU seconds, of a process that loads a model and predicts one image."""
    started = time.perf_counter()
    process = psutil.Popen([sys.executable, "-c", _FIRST, str(model), str(image)], stdout=subprocess.DEVNULL)
    before = psutil.Process().cpu_times()
    assert process.wait() == 0
    seconds, after = time.perf_counter() - started, psutil.Process().cpu_times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return seconds, used


def measure(folders: dict[str, Path], engine: str, *, rounds: int, requests: int) -> dict[str, list[dict[str, float]]]:
    """Responses per second, CPU seconds per response and resident memory of each server, by round."""
    made = [image_request(picture, PATH) for picture in photographs(32)]
    found: dict[str, list[dict[str, float]]] = {name: [] for name in folders}
    with ExitStack() as stack:
        servers = {}
        for name, folder in folders.items():
            port = free_port()
            process, _ = stack.enter_context(served(server_command(folder, port, engine), port, made[0]))
            servers[name] = (port, psutil.Process(process.pid))
            send_traffic(port, made, clients=SATURATING, answers=SATURATING)
        for number in range(rounds):
            for name in list(folders)[:: -1 if number % 2 else 1]:
                port, process = servers[name]
                before = process.cpu_times()
                traffic = send_traffic(port, made, clients=SATURATING, answers=requests)
                after = process.cpu_times()
                used = after.user + after.system - before.user - before.system
                found[name].append(
                    {
                        "per_second": traffic.per_second,
                        "cpu_seconds": used / len(traffic.answered),
                        "memory": process.memory_info().rss,
                    }
                )
            print(
                f"  round {number + 1}: {[round(each[-1]['per_second'], 1) for each in found.values()]}/s",
                file=sys.stderr,
            )
    return found


def main() -> int:
    parser = parser_for(__doc__, quick={"requests": 32, "rounds": 1, "starts": 1, "architecture": "resnet18"})
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--requests", type=int, default=96, help="responses per server and round (default: 96)")
    parser.add_argument("--starts", type=int, default=9, help="first predictions per model (default: 9)")
    parser.add_argument("--architecture", default="resnet50")
    parser.add_argument("--engine", default="torch")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        folders, image = models(Path(root), arguments.architecture), Path(root) / "image.jpg"
        image.write_bytes(photographs(1)[0])
        found = measure(folders, arguments.engine, rounds=arguments.rounds, requests=arguments.requests)
        starts: dict[str, list[tuple[float, float]]] = {name: [] for name in folders}
        for number in range(arguments.starts):
            for name in list(folders)[:: -1 if number % 2 else 1]:
                starts[name].append(first_prediction(folders[name], image))
        sizes = {name: sum(path.stat().st_size for path in folder.iterdir()) for name, folder in folders.items()}

    def median(name: str, value: str) -> float:
        return statistics.median(a[value] / b[value] for a, b in zip(found[name], found[PLAIN], strict=True))

    def start(name: str, kind: int) -> float:
        return statistics.median(a[kind] / b[kind] for a, b in zip(starts[name], starts[PLAIN], strict=True))

    banks = (RAW, PCA)
    goals = [
        *(at_least(f"throughput at {SATURATING} clients, {name}", median(name, "per_second"), 0.97) for name in banks),
        *(at_most(f"CPU time per response, {name}", median(name, "cpu_seconds"), 1.03) for name in banks),
        *(at_most(f"first prediction, {name}", start(name, 0), 1.05) for name in banks),
        *(at_most(f"CPU time of the first prediction, {name}", start(name, 1), 1.05) for name in banks),
        *(
            at_most(
                f"megabytes of memory, {name}", (found[name][-1]["memory"] - found[PLAIN][-1]["memory"]) / 1e6, most
            )
            for name, most in zip(banks, (60, 10), strict=True)
        ),
        *(
            at_most(f"megabytes on disk, {name}", (sizes[name] - sizes[PLAIN]) / 1e6, most)
            for name, most in zip(banks, (30, 3), strict=True)
        ),
    ]
    details = {"engine": arguments.engine, "architecture": arguments.architecture, "rounds": found, "starts": starts}
    return report("serve_bank", goals, details, arguments)


if __name__ == "__main__":
    sys.exit(main())
