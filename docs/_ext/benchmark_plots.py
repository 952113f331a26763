"""`{benchmark} NAME`: a plot and a table of goals, from the newest results of each machine in benchmarks/results/."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from docutils import nodes
from markupsafe import Markup
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from svg_files import standalone

from breedclf.reporting.charts import Bar, bar_chart, stacked_bar_chart

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
FOLDER = Path("_generated") / "benchmarks"
_MACHINES = 3
_BATCH = 32  # of the benchmark forward
Details = dict[str, Any]


def measured(name: str, values: list[float]) -> Bar:
    return Bar(name, statistics.median(values), min(values), max(values))


def walls(details: Details) -> list[Bar]:
    return [measured(name, each["wall"]) for name, each in details["seconds"].items()]


def decoding(details: Details) -> list[Bar]:
    return [
        Bar(f"{size}, {work}", rate)
        for size, each in details.items()
        for measure, rates in each.items()
        if measure.endswith("per CPU second")
        for work, rate in rates.items()
    ]


def forward(details: Details) -> list[Bar]:
    names = {"eager fp32": "eager fp32", "ours": "breedclf", "reference": "matrix product (reference)"}
    bars = [Bar(names[name], rate) for name, rate in details["images_per_second"].items()]
    alone = details.get("in processes of their own", {})
    return bars + [
        Bar(name, _BATCH / statistics.median(each["wall"])) for name, each in alone.items() if name != "ours"
    ]


def grids(details: Details) -> list[Bar]:
    return [measured(name, [each["seconds"] for each in runs]) for name, runs in details["runs"].items()]


def searches(details: Details) -> list[Bar]:
    return [measured(name, seconds) for name, seconds in details["seconds"].items()]


def trainings(details: Details) -> list[Bar]:
    bars = [measured(name, [run["seconds"] for run in each["runs"]]) for name, each in details["contenders"].items()]
    return sorted(bars, key=lambda bar: bar.value)


def processes(details: Details) -> list[Bar]:
    """With start-up, by network; results of before 2026-12 have one network, and no start-up."""
    if "networks" not in details:
        return trainings(details)
    return [
        bar
        for network, found in details["networks"].items()
        for bar in sorted(
            (
                measured(
                    f"{_short(network)}: {name.removesuffix(', shipped')}",
                    [run["process_seconds"] for run in each["runs"]],
                )
                for name, each in found["contenders"].items()
            ),
            key=lambda bar: bar.value,
        )
    ]


def serving(details: Details) -> list[Bar]:
    limit = measured("the limit", details["limit_per_second"])
    points = {int(clients): each["per_second"] for clients, each in details["points"].items()}
    return [
        limit,
        *(Bar(f"{clients} clients" if clients > 1 else "1 client", points[clients]) for clients in sorted(points)),
    ]


def servers(details: Details) -> list[Bar]:
    return [measured(name, [each["per_second"] for each in rounds]) for name, rounds in details.items()]


def separation(details: Details) -> list[Bar]:
    return [
        Bar(f"{what}, by {name}", 100 * each[measure]["let through"])
        for what, each in details["far"].items()
        for measure, name in (("distance", "distance"), ("min_confidence", "probability"))
    ]


# benchmark: (title, unit, bars; None for shares of the time)
PLOTS: dict[str, tuple[str, str, Callable[[Details], list[Bar]] | None]] = {
    "time_shares": ("Where the time of a process goes", "", None),
    "startup": ("Start-up on the command line", "seconds", walls),
    "decode": ("From a JPEG file to the network's input, one core", "images per CPU second", decoding),
    "forward": ("Frozen backbone, 32 images per batch", "images per second", forward),
    "epoch": ("One training run with a cold cache, and a plain loop", "seconds", walls),
    "peers": ("One epoch of the head, several libraries", "seconds", processes),
    "finetune": ("One epoch of all layers, several libraries", "seconds", trainings),
    "grid": ("Twelve trials", "seconds", searches),
    "grid_plain": ("Twelve trials, each a complete run", "seconds", grids),
    "trust": ("Images of no class that are answered with one", "%", separation),
    "serve": ("Requests", "per second", serving),
    "serve_peers": ("Requests of three servers with the same network", "per second", servers),
}


def newest(name: str) -> list[tuple[str, dict[str, Any]]]:
    """Name and document of the newest results of each machine, for the machines measured last."""
    found = sorted(RESULTS.glob(f"*-[0-9][0-9]-{name}.json"), key=lambda path: (path.stem[: -len(name)][-11:], path))
    by_machine = {path.stem[: -len(name) - len("-2026-11-29-")]: path for path in found}
    latest = sorted(by_machine.values(), key=found.index)[-_MACHINES:]
    return [(path.stem, json.loads(path.read_text(encoding="utf-8"))) for path in reversed(latest)]


def _short(network: str) -> str:
    return network.removeprefix("timm:tf_efficientnet_")


def time_shares(title: str, details: Details) -> Markup:
    """Shares of each command's time, by network."""
    rows = {
        f"{_short(network)}: {command}": parts
        for network, found in details["seconds"].items()
        for command, parts in found.items()
    }
    names = dict.fromkeys(part for parts in rows.values() for part in parts)
    shares = {name: [parts.get(name, 0.0) for parts in rows.values()] for name in names}
    return stacked_bar_chart(title, list(rows), shares, shares=True)


def write_plots(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, (title, *_) in PLOTS.items():
        for plot, document in newest(name):
            chart = drawn(name, document["details"])
            (folder / f"{plot}.svg").write_text(standalone(title, chart), encoding="utf-8")


def drawn(name: str, details: Details) -> Markup:
    title, unit, bars = PLOTS[name]
    return time_shares(title, details) if bars is None else bar_chart(title, bars(details), value_label=unit)


class _Benchmark(SphinxDirective):
    """The plots, where and when they were measured, and the goals."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        name = self.arguments[0]
        if name not in PLOTS:
            raise self.error(f"{name} has no plot")
        documents = newest(name)
        if not documents:
            return [nodes.paragraph(text=f"No result of {name} is saved yet.")]
        return [node for plot, document in documents for node in _shown(name, plot, document)]


def _shown(name: str, plot: str, document: dict[str, Any]) -> list[nodes.Node]:
    machine = document["machine"]
    instructions = machine.get("instructions", "")
    where = (
        f"python -m benchmarks {name}, {machine['processor'].strip()}{instructions and f' ({instructions})'}, "
        f"{machine['cores']} cores, torch {machine['torch']}, {machine['date']}"
    )
    rows = [
        (goal["what"], f"{goal['value']:.3g}", goal["goal"], "reached" if goal["reached"] else "missed")
        for goal in document["goals"]
    ]
    image = nodes.image(uri=f"/{(FOLDER / plot).as_posix()}.svg", alt=PLOTS[name][0], width="38em")
    return [image, nodes.caption("", where), table(("", "measured", "goal", ""), rows, (60, 12, 12, 12))]


def table(head: tuple[str, ...], rows: list[tuple[str, ...]], widths: tuple[int, ...]) -> nodes.table:
    group = nodes.tgroup(cols=len(head))
    group += [nodes.colspec(colwidth=width) for width in widths]
    for part, lines in ((nodes.thead(), [head]), (nodes.tbody(), rows)):
        for line in lines:
            row = nodes.row()
            for cell in line:
                row += nodes.entry("", nodes.paragraph(text=cell))
            part += row
        group += part
    return nodes.table("", group)


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("builder-inited", lambda app: write_plots(Path(app.srcdir) / FOLDER))
    app.add_directive("benchmark", _Benchmark)
    return {"parallel_read_safe": True}
