"""A training run of one and three epochs compared with plain loops, with a cold cache, excluding startup."""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path

from benchmarks.measuring import (
    DATA,
    WEIGHTS,
    arguments,
    at_least,
    interleaved,
    quickest_precision,
    ratios,
    report,
)
from benchmarks.plain_loop import PlainLoop
from breedclf import Trainer, TrainingConfig
from breedclf.data.image_folder import scan

NAME, RATE, BATCH = "hymenoptera", 0.005, 32
Right = list[int]


def main() -> int:
    given, precision = arguments(__doc__), quickest_precision()
    loops = {"tutorial": PlainLoop(DATA / NAME, WEIGHTS), "eval": PlainLoop(DATA / NAME, WEIGHTS, precision)}
    right: dict[str, Right] = {name: [] for name in ("ours", *loops)}
    works: dict[str, Callable[[], object]] = {}
    for epochs in (1, 3):
        label = "1 epoch" if epochs == 1 else f"{epochs} epochs"
        works[f"ours, {label}"] = partial(ours, epochs, count(), right["ours"] if epochs == 3 else [])
        for name, loop in loops.items():
            works[f"{name}, {label}"] = partial(plain, loop, epochs, count(), right[name] if epochs == 3 else [])
    ours(1, count(), [])
    seconds = interleaved(works, given.repeats)
    over = {
        name: ratios(each["wall"], seconds[f"ours,{name.partition(',')[2]}"]["wall"]) for name, each in seconds.items()
    }
    mean = {name: statistics.mean(found) for name, found in right.items()}
    goals = [
        at_least(f"plain {precision} loop in eval mode over ours, 1 epoch", over["eval, 1 epoch"]["median"], 1.15),
        at_least(f"plain {precision} loop in eval mode over ours, 3 epochs", over["eval, 3 epochs"]["median"], 3.0),
        at_least("plain fp32 loop as in tutorials over ours, 1 epoch", over["tutorial, 1 epoch"]["median"], 3.0),
        at_least("correct test images, minus those of the eval loop, mean over seeds", mean["ours"] - mean["eval"], -1),
    ]
    details = {"data": NAME, "precision": precision, "over ours": over, "test right": right, "seconds": seconds}
    return report("epoch", goals, details, given)


def ours(epochs: int, seeds: count[int], right: Right) -> None:
    with tempfile.TemporaryDirectory() as folder:
        settings = {"cache_dir": Path(folder) / "cache", "output": Path(folder) / "out", "seed": next(seeds)}
        config = TrainingConfig(data=DATA / NAME, weights=str(WEIGHTS), epochs=epochs, batch_size=BATCH, **settings)
        result = Trainer(config).fit()
        if epochs == 3:
            test = scan(DATA / NAME).split("test")
            guesses = (
                result.classifier.probabilities([test.images.read(index) for index in range(len(test))])
                .argmax(1)
                .tolist()
            )
            right.append(sum(guess == target for guess, target in zip(guesses, test.targets, strict=True)))


def plain(loop: PlainLoop, epochs: int, seeds: count[int], right: Right) -> None:
    network, _, _ = loop.train(RATE, BATCH, epochs, seed=next(seeds))
    if epochs == 3:
        right.append(loop.judge(network, loop.loader("test", BATCH))[1])


if __name__ == "__main__":
    sys.exit(main())
