"""Startup time of the command line: help, the import, and a first prediction."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.measuring import DATA, WEIGHTS, arguments, at_most, interleaved, ratios, report
from breedclf import Trainer, TrainingConfig


def main() -> int:
    given = arguments(__doc__, repeats=9)
    with tempfile.TemporaryDirectory() as folder:
        config = TrainingConfig(data=DATA / "hymenoptera", weights=str(WEIGHTS), epochs=1, output=Path(folder) / "out")
        model = Trainer(config).fit().artifact
        image = next((DATA / "hymenoptera" / "test").rglob("*.jpg"))
        imports = (
            "import torch, torchvision; from safetensors.torch import load_file; "
            f"load_file({str(model / 'model.safetensors')!r})"
        )
        commands = {
            "help": ["-m", "breedclf", "--help"],
            "python alone": ["-c", ""],
            "import breedclf": ["-c", "import breedclf"],
            "torch, torchvision and the weights": ["-c", imports],
            "first prediction": ["-m", "breedclf", "predict", str(model), str(image)],
        }
        works = {name: (lambda words=words: _run(words)) for name, words in commands.items()}
        for work in works.values():
            work()
        seconds = interleaved(works, given.repeats)
    median = {name: statistics.median(each["wall"]) for name, each in seconds.items()}
    first = ratios(seconds["first prediction"]["wall"], seconds["torch, torchvision and the weights"]["wall"])
    goals = [
        at_most("seconds of breedclf --help", median["help"], 0.5),
        at_most("seconds of import breedclf", median["import breedclf"] - median["python alone"], 0.1),
        at_most("first prediction over importing torch, torchvision and loading the weights", first["median"], 1.3),
    ]
    return report("startup", goals, {"first prediction over imports": first, "seconds": seconds}, given)


def _run(words: list[str]) -> None:
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.exit(main())
