"""A grid of 12 trials compared with plain loops that run the whole network in every epoch: time and accuracy."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.grid import COMMON, GRID, NAME
from benchmarks.measuring import DATA, WEIGHTS, arguments, at_least, quickest_precision, report

RATES, BATCHES, EPOCHS = (0.005, 0.0075, 0.01), (32, 64), (2, 3)


def main() -> int:
    given, precision = arguments(__doc__, repeats=1), quickest_precision()
    runs: dict[str, list[dict[str, Any]]] = {"breedclf": [], "tutorial loop": [], "eval loop": []}
    for repeat in range(given.repeats):
        for name, found in runs.items():
            found.append(_ours() if name == "breedclf" else _in_a_process(precision if name == "eval loop" else None))
            shown = {key: value for key, value in found[-1].items() if key != "trials"}
            print(f"  {repeat + 1}/{given.repeats} {name}: {shown}", file=sys.stderr, flush=True)
    best = {name: min(found, key=lambda each: each["seconds"]) for name, found in runs.items()}
    ours = best["breedclf"]
    goals = [
        at_least(
            "a plain fp32 loop per trial, over the search", best["tutorial loop"]["seconds"] / ours["seconds"], 50
        ),
        at_least(
            f"a plain {precision} loop in eval mode per trial, over the search",
            best["eval loop"]["seconds"] / ours["seconds"],
            20,
        ),
    ]
    for name in ("tutorial loop", "eval loop"):
        right = ours["test_right"] - best[name]["test_right"]
        goals.append(at_least(f"correct test images, minus those of the {name}", right, -1))
    return report("grid_plain", goals, {"data": NAME, "precision": precision, "runs": runs}, given)


def _ours() -> dict[str, Any]:
    from benchmarks.grid import cold
    from breedclf import Classifier
    from breedclf.data.image_folder import scan

    with tempfile.TemporaryDirectory() as folder:
        reports = Path(folder) / "kept"
        seconds, found = cold(["tune", *COMMON, *GRID, "--report", str(reports / "tuning.html")])
    best = found["best"]
    with tempfile.TemporaryDirectory() as folder:  # the timed run's model is gone; the same settings reproduce it
        from breedclf import Trainer, TrainingConfig

        settings = {**best["hyperparameters"], "cache_dir": Path(folder) / "cache", "output": Path(folder) / "out"}
        Trainer(TrainingConfig(data=DATA / NAME, weights=str(WEIGHTS), **settings)).fit()
        test = scan(DATA / NAME).split("test")
        labels = Classifier(Path(folder) / "out" / "model").predict(
            [test.images.read(index) for index in range(len(test))]
        )
        names = scan(DATA / NAME).labels
        right = sum(each.top(1)[0].label == names[target] for each, target in zip(labels, test.targets, strict=True))
    return {
        "seconds": seconds,
        "best": best["hyperparameters"],
        "valid_loss": best["objective"],
        "valid_right": round(best["metrics"]["valid_accuracy"] * found["valid_count"]),
        "test_right": right,
        "trials": [trial["objective"] for trial in found["trials"]],
    }


def _in_a_process(precision: str | None) -> dict[str, Any]:
    """Run the plain loop in a separate process, including imports, as for breedclf."""
    started = time.perf_counter()
    code = f"from benchmarks.grid_plain import plain_grid; plain_grid({precision!r})"
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, check=True, cwd=Path(__file__).parents[1]
    )
    found = json.loads(done.stdout)
    found["seconds"] = time.perf_counter() - started - found.pop("test_seconds")
    return dict(found)


def plain_grid(precision: str | None) -> None:
    """Train all 12 trials with a plain loop, and print the results."""
    from benchmarks.plain_loop import PlainLoop

    loop = PlainLoop(DATA / NAME, WEIGHTS, precision)
    trials = []
    best: dict[str, Any] = {}
    for rate, batch, epochs in itertools.product(RATES, BATCHES, EPOCHS):
        network, mean, right = loop.train(rate, batch, epochs)
        trials.append(mean)
        print(f"    {precision or 'as in tutorials'} {rate} {batch} {epochs}: {mean:.4f}", file=sys.stderr, flush=True)
        if not best or mean < best["valid_loss"]:
            settings = {"learning_rate": rate, "batch_size": batch, "epochs": epochs}
            best = {"best": settings, "valid_loss": mean, "valid_right": right, "network": network}
    started = time.perf_counter()
    test_right = loop.judge(best.pop("network"), loop.loader("test", 32))[1]
    document = {**best, "test_right": test_right, "trials": trials, "test_seconds": time.perf_counter() - started}
    print(json.dumps(document))


if __name__ == "__main__":
    sys.exit(main())
