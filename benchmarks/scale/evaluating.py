"""Evaluating a model whose test images have features in the store."""

from __future__ import annotations

import shutil
import sys
from typing import Any

from benchmarks.measuring import at_most, ratios
from benchmarks.scale.images import write_images
from benchmarks.scale.runs import Setup, breedclf, say, timed, train


def evaluating(setup: Setup) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """`breedclf evaluate` after a first one, in turns with importing what it needs and loading the weights."""
    count = setup.images(500, 40)
    data = write_images(setup.folder / "evaluated", {"train": 4 * 32, "valid": 32, "test": count})
    trained = train(setup, data, "evaluated-model")
    model = trained.document["artifact"]
    imports = (
        "import torch, torchvision; from safetensors.torch import load_file; "
        f"load_file({str(setup.folder / 'evaluated-model' / 'model' / 'model.safetensors')!r})"
    )

    def evaluate() -> float:
        report = setup.folder / "report"
        return breedclf("evaluate", model, data, "--output", report, cache=setup.folder / "cache").wall

    first = evaluate()
    say(f"first evaluation of {count} images: {first:.2f} s")
    evaluations, alone = [], []
    for _ in range(setup.repeats + 1):
        evaluations.append(evaluate())
        alone.append(timed([sys.executable, "-c", imports])[1])
        say(f"evaluation {evaluations[-1]:.2f} s, imports alone {alone[-1]:.2f} s")
    shutil.rmtree(data)
    cost = ratios(evaluations[1:], alone[1:])
    what = (
        f"evaluation of {count} images that have features, over importing torch and torchvision and loading the model"
    )
    details = {"first": first, "evaluations": evaluations[1:], "imports": alone[1:], "ratio": cost}
    return [at_most(what, cost["median"], 1.2)], details
