"""One training beside the plain loop, from a cold cache, start-up left out: one epoch and three, both precisions."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from benchmarks.measuring import DATA, WEIGHTS, arguments, at_least, interleaved, ratios, report
from benchmarks.plain_loop import PlainLoop
from breedclf import Trainer, TrainingConfig
from breedclf.learning.scan import scan

NAME, RATE, BATCH = "hymenoptera", 0.005, 32


def main() -> int:
    given = arguments(__doc__)
    loops = {precision: PlainLoop(NAME, precision) for precision in ("fp32", "bf16")}
    right: dict[str, int] = {}

    def ours(epochs: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            settings = {"cache_dir": Path(folder) / "cache", "output": Path(folder) / "out", "workers": None}
            config = TrainingConfig(data=DATA / NAME, weights=str(WEIGHTS), epochs=epochs, batch_size=BATCH, **settings)
            result = Trainer(config).fit()
            if epochs == 3:
                test = scan(DATA / NAME).split("test")
                guesses = result.classifier.probabilities(list(test.paths)).argmax(1).tolist()
                right["ours"] = sum(guess == target for guess, target in zip(guesses, test.targets, strict=True))

    def plain(precision: str, epochs: int) -> None:
        loop = loops[precision]
        network, _, _ = loop.train(RATE, BATCH, epochs)
        if epochs == 3:
            right[precision] = loop.judge(network, loop.loader("test", BATCH))[1]

    works = {
        f"{name}, {epochs} epoch{'s' if epochs > 1 else ''}": (
            (lambda e=epochs: ours(e)) if name == "ours" else (lambda n=name, e=epochs: plain(n, e))
        )
        for epochs in (1, 3)
        for name in ("ours", "fp32", "bf16")
    }
    ours(1)
    seconds = interleaved(works, given.repeats)
    over = {
        name: ratios(each["wall"], seconds[f"ours,{name.partition(',')[2]}"]["wall"]) for name, each in seconds.items()
    }
    goals = [
        at_least("plain bf16 loop over ours, 1 epoch", over["bf16, 1 epoch"]["median"], 1.15),
        at_least("plain bf16 loop over ours, 3 epochs", over["bf16, 3 epochs"]["median"], 3.0),
        at_least("plain fp32 loop over ours, 1 epoch", over["fp32, 1 epoch"]["median"], 3.0),
        at_least(
            "test pictures right, less those of the bf16 loop (if fewer)", min(0, right["ours"] - right["bf16"]), -1
        ),
    ]
    return report("epoch", goals, {"data": NAME, "over ours": over, "test right": right, "seconds": seconds}, given)


if __name__ == "__main__":
    sys.exit(main())
