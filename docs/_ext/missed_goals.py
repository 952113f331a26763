"""`{missed-goals}`: the goals that the newest results of a machine miss, each with the reason."""

from __future__ import annotations

from typing import Any

from benchmark_plots import RESULTS, newest, table
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

UNEXPLAINED = "not explained yet"
# (benchmark, start of the goal, reason); the first that fits counts.
REASONS = [
    (
        "decode",
        "500 x 400",
        "decoding itself takes six tenths of the time; one machine of three reaches twice Pillow",
    ),
    ("decode", "2000 x 1500: ", "decoding takes 8 to 12 of Pillow's 16 ms, with either library, and pixels stay exact"),
    ("decode", "2000 x 1500, dct", "reading the entropy-coded blocks takes 3.9 of 4.7 ms, which no scale avoids"),
    ("epoch", "plain fp32 loop", "without bf16, the frozen backbone is twice as fast as eager fp32, not three times"),
    ("epoch", "correct test images", "one seed per repeat; over five seeds both heads get 48 of 50 images"),
    ("epoch", "test ", "one seed per repeat; over five seeds both heads get 48 of 50 images"),
    ("forward", "frozen forward over", "without bf16, eager fp32 itself reaches two fifths of the machine's limit"),
    ("forward", "frozen forward,", "layers with small matrices, and reading and writing intermediate results"),
    ("forward", "OpenVINO", "both use the same instructions for the same products; int8 exceeds the goal"),
    ("grid", "12 trials as local jobs, two", "each job starts a supervisor, imports the modules and hands over 94 MB"),
    ("grid_plain", "a plain", "30 epochs against one pass: what a pass gains, times 30, less the search's start-up"),
    ("heads", "whole process", "the covariance of 2,048 features, and the product with its root in every epoch"),
    ("label_review", "stated precision", "with fewer than some hundred images it varies by 0.1 to 0.2"),
    (
        "scale",
        "seconds of a run on 20,000",
        "19,800 more files are found, and their stats compared, on a shared disk",
    ),
    ("scale", "images per second", "0.968 for a limit of 0.97, on a shared machine: no difference was found"),
    ("serve", "p99 at 128", "the clients run on the server's two cores"),
    ("serve_peers", "ours over LitServe", "both are at the network's limit"),
]


def rows() -> list[tuple[str, ...]]:
    """Benchmark, goal, measured values with their machines, the goal's limit, and the reason."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for name in sorted({path.stem.rpartition("-")[2] for path in RESULTS.glob("*.json")}):
        for _, document in newest(name):
            for goal in document["goals"]:
                if not goal["reached"]:
                    key = (name, goal["what"], goal["goal"])
                    found.setdefault(key, []).append(f"{goal['value']:.3g} ({_where(document['machine'])})")
    return [(name, what, ", ".join(values), goal, reason(name, what)) for (name, what, goal), values in found.items()]


def reason(benchmark: str, goal: str) -> str:
    return next((why for name, start, why in REASONS if name == benchmark and goal.startswith(start)), UNEXPLAINED)


def _where(machine: dict[str, Any]) -> str:
    return " ".join([machine["processor"].split()[0].removesuffix("(R)"), machine.get("instructions", "")]).strip()


class _MissedGoals(SphinxDirective):
    def run(self) -> list[nodes.Node]:
        return [table(("benchmark", "goal", "measured", "limit", "why"), rows(), (12, 30, 18, 8, 36))]


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_directive("missed-goals", _MissedGoals)
    return {"parallel_read_safe": True}
