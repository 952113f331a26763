"""Directives for the page of profiling rules: each rule with its defaults and a chart, and the injected faults.

A chart shows the value that a rule evaluates, on the clean run and on the run with its fault. The runs are those of the
tests; the charts are the report's own, as one SVG file each.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from docutils import nodes
from markupsafe import Markup
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from svg_files import standalone
from tests.profiling import planted_profiles as planted
from tests.profiling.planted_faults import FAULTS

from breedclf.profiling.profile import Profile, SeriesKind, TensorKind
from breedclf.profiling.report.summary import parts_of
from breedclf.profiling.rules import ALL_RULES, check
from breedclf.profiling.rules.text import seconds, size
from breedclf.reporting.charts import (
    Bar,
    Reference,
    Series,
    Span,
    bar_chart,
    box_chart,
    donut_chart,
    line_chart,
    stacked_bar_chart,
    timeline_chart,
)
from breedclf.reporting.formats import Format, plain

FOLDER = Path("_generated") / "rules"
CLEAN, FAULTY = "clean run", "with the fault"
Draw = Callable[[str], Markup]


def fault(name: str) -> Profile:
    return FAULTS[name][2]()


def runs(name: str) -> dict[str, Profile]:
    return {CLEAN: planted.clean(), FAULTY: fault(name)}


def steps(name: str, reference: Callable[[Profile], tuple[float, str]] | None = None, **more: object) -> Draw:
    """Durations of training steps over the run."""

    def draw(title: str) -> Markup:
        lines, at = [], fault(name)
        for label, profile in runs(name).items():
            chosen = profile.steps.of("train")
            lines.append(Series(label, profile.steps.start[chosen], profile.steps.duration[chosen]))
        marks = [Reference(*reference(at), axis="y")] if reference else []
        return line_chart(title, lines, x_label="seconds", y_label="seconds per step", references=marks, **more)

    return draw


def outlier_threshold(profile: Profile) -> tuple[float, str]:
    group = ALL_RULES["StepOutlier"](profile).details["groups"][0]
    return group["threshold"], "mean + 3 standard deviations"


def samples(name: str, *kinds: SeriesKind, limit: float | None = None, form: Format = plain, unit: str = "%") -> Draw:
    """System samples of the run with the fault, and of the clean run if there is only one kind."""

    def draw(title: str) -> Markup:
        shown = runs(name) if len(kinds) == 1 and planted.clean().system.of(kinds[0]) else {FAULTY: fault(name)}
        lines = [
            Series(label if len(kinds) == 1 else kind.replace("_", " "), *profile.system.mean(kind))
            for label, profile in shown.items()
            for kind in kinds
        ]
        marks = [Reference(limit, f"limit {limit:g}", axis="y")] if limit is not None else []
        return line_chart(
            title, lines, x_label="seconds", y_label=unit, y_format=form, references=marks, from_zero=True
        )

    return draw


def measure(
    name: str, kind: TensorKind, tensor: str, column: str, *, limits: tuple[float, ...] = (), log: bool = False
) -> Draw:
    """A reduction of one tensor over time."""

    def draw(title: str) -> Markup:
        lines = []
        for label, profile in runs(name).items():
            found = next(t for t in profile.tensors if (t.kind, t.name) == (kind, tensor))
            lines.append(Series(label, found.step, np.maximum(found.measures[column], 1e-12 if log else -np.inf)))
        marks = [Reference(limit, f"limit {limit:g}", axis="y") for limit in limits]
        return line_chart(title, lines, x_label="step", y_label=column.replace("_", " "), log_y=log, references=marks)

    return draw


def parts(name: str) -> Draw:
    """Where the time of training steps goes."""

    def draw(title: str) -> Markup:
        split = {label: {p.name: p.share for p in parts_of(run, "train")} for label, run in runs(name).items()}
        names = list(dict.fromkeys(part for shares in split.values() for part in shares))
        stacked = {part: [shares.get(part, 0.0) for shares in split.values()] for part in names}
        return stacked_bar_chart(title, list(split), stacked, shares=True)

    return draw


def loading(name: str) -> Draw:
    """The cost of loading one image."""

    def draw(title: str) -> Markup:
        loaders = {label: run.loader for label, run in runs(name).items()}
        costs = ("read", "decode", "transform")
        stacked = {c: [getattr(one, f"{c}_seconds") or 0.0 for one in loaders.values()] for c in costs}
        return stacked_bar_chart(title, list(loaders), stacked, format=seconds)

    return draw


def bars(values: Callable[[], dict[str, float]], form: Format = plain) -> Draw:
    return lambda title: bar_chart(title, [Bar(name, value) for name, value in values().items()], format=form)


def step_losses(name: str) -> Draw:
    def draw(title: str) -> Markup:
        lines = [Series(label, run.learning.step, run.learning.step_loss) for label, run in runs(name).items()]
        return line_chart(title, lines, x_label="step", y_label="training loss", from_zero=True)

    return draw


def epoch_losses(name: str) -> Draw:
    def draw(title: str) -> Markup:
        learned = fault(name).learning
        epochs = np.arange(1, len(learned.train_loss) + 1)
        lines = [Series("training", epochs, learned.train_loss), Series("validation", epochs, learned.valid_loss)]
        return line_chart(title, lines, x_label="epoch", y_label="loss", from_zero=True, whole_x=True)

    return draw


def slow_start(title: str) -> Markup:
    spans = []
    for label, run in runs("slow start").items():
        first = run.job.initialization_seconds or 0.0
        spans += [Span(label, 0.0, first, "before the first step"), Span(label, first, first + 400.0, "steps")]
    return timeline_chart(title, spans)


def threads() -> dict[str, float]:
    run = fault("more threads than cores")
    return {"computing threads": float(run.job.threads or 0), "cores": float(sum(run.job.cores.values()))}


def workers() -> dict[str, float]:
    run = fault("no workers")
    return {"DataLoader workers": float(run.loader.workers or 0), "cores": float(sum(run.job.cores.values()))}


def initial_spreads() -> dict[str, float]:
    run = fault("bad initial weights")
    return {t.name: float(t.measures["std"][0]) for t in run.tensors if t.kind == "weight"}


def class_counts() -> dict[str, float]:
    learned = fault("class imbalance").learning
    return dict(zip(learned.class_names, learned.class_counts.astype(float).tolist(), strict=True))


def input_moments() -> dict[str, float]:
    found = {}
    name = next(name for name, (rule, *_) in FAULTS.items() if rule == "CheckInputImages")
    for label, run in runs(name).items():
        (images,) = (t for t in run.tensors if t.kind == "input")
        found |= {f"{label}: {name}": float(abs(images.measures[name]).mean()) for name in ("mean", "std")}
    return found


def gpu_boxes(title: str) -> Markup:
    run = fault("tiny batch on a GPU")
    kinds: tuple[SeriesKind, ...] = ("cpu", "gpu", "gpu_memory")
    return box_chart(title, {kind.replace("_", " "): run.system.mean(kind)[1] for kind in kinds}, value_label="%")


def two_gpus(title: str) -> Markup:
    gpus = fault("rank imbalance").system.of("gpu")
    return line_chart(
        title, [Series(s.name, s.time, s.value) for s in gpus], x_label="seconds", y_label="%", from_zero=True
    )


def usage(title: str) -> Markup:
    run = planted.clean()
    kinds: tuple[SeriesKind, ...] = ("cpu", "memory", "io_wait")
    return box_chart(title, {kind.replace("_", " "): run.system.mean(kind)[1] for kind in kinds}, value_label="%")


def framework(title: str) -> Markup:
    return donut_chart(title, [(p.name, p.seconds) for p in parts_of(planted.clean(), "train")], format=seconds)


def results() -> dict[str, float]:
    found = [finding.status for finding in check(fault("no workers"))[:-1]]
    words = {"issue": "issue", "ok": "fine", "no_data": "no data", "not_applicable": "does not apply"}
    return {word: float(found.count(status)) for status, word in words.items()}


# rule: (title of the chart, how it is drawn)
CHARTS: dict[str, tuple[str, Draw]] = {
    "StepOutlier": ("A dozen steps beyond the threshold", steps("slow steps now and then", outlier_threshold)),
    "Dataloader": ("No DataLoader workers on eight cores", bars(workers)),
    "SlowReader": ("Time per image: mostly reading", loading("slow reader")),
    "SlowTransform": ("Time per image: mostly decoding", loading("CPU-bound transform")),
    "BatchSize": ("CPU, GPU and GPU memory are underused", gpu_boxes),
    "CPUBottleneck": ("The CPU is full while the GPU is idle", samples("GPU starved by the CPU", "cpu", "gpu")),
    "IOBottleneck": ("Waiting for disks", samples("slow disk", "io_wait", limit=50)),
    "LowGPUUtilization": ("A GPU that is busy in bursts", samples("GPU used in bursts", "gpu")),
    "GPUMemoryIncrease": ("GPU memory that grows", samples("GPU memory leak", "gpu_memory")),
    "HostMemoryIncrease": ("Memory that grows", samples("memory leak", "process_memory", form=size, unit="")),
    "CoreOversubscription": ("More threads than cores", bars(threads)),
    "LoadBalancing": ("Two GPUs with unequal work", two_gpus),
    "MaxInitializationTime": ("25 minutes before the first step", slow_start),
    "VanishingGradient": (
        "Mean absolute gradient",
        measure("vanishing gradient", "gradient", "layer4.conv", "mean_abs", limits=(1e-7,), log=True),
    ),
    "ExplodingTensor": ("A loss that is NaN from step 40 on", step_losses("exploding learning rate")),
    "PoorWeightInitialization": ("Standard deviation of initial weights, by layer", bars(initial_spreads)),
    "SaturatedActivation": (
        "Share of saturated tanh values",
        measure("saturated tanh", "activation", "gate", "saturated_share", limits=(0.5,)),
    ),
    "DeadRelu": (
        "Share of inactive ReLU units",
        measure("dead ReLU", "activation", "relu", "inactive_share", limits=(0.5,)),
    ),
    "WeightUpdateRatio": (
        "Mean update over mean weight",
        measure("huge updates", "gradient", "fc.weight", "update_ratio", limits=(10, 1e-8), log=True),
    ),
    "AllZero": (
        "Share of a weight's values that are zero", measure("all-zero weights", "weight", "layer4.conv", "zero_share")
    ),
    "UnchangedTensor": (
        "Change of a weight since the previous sample",
        measure("weights that don't move", "weight", "layer4.conv", "change"),
    ),
    "CheckInputImages": ("Mean and standard deviation of the network's input", bars(input_moments)),
    "LossNotDecreasing": ("A loss that rises", step_losses("learning rate too high")),
    "Overfit": ("The validation loss rises while the training loss falls", epoch_losses("overfitting")),
    "Overtraining": ("Epochs after the losses have stopped improving", epoch_losses("trained too long")),
    "ClassImbalance": ("Training images, by class", bars(class_counts)),
    "StalledTraining": ("One step of 33 minutes", steps("stalled step", log_y=True)),
    "OverallSystemUsage": ("How busy the machine was in a clean run", usage),
    "OverallFrameworkMetrics": ("Where the time of training steps goes in a clean run", framework),
    "ProfilerReport": ("The results of all rules for one run", bars(results)),
}  # fmt: skip


def svg_of(rule: str) -> str:
    """The chart as a file of its own."""
    title, draw = CHARTS[rule]
    return standalone(title, draw(title))


def write_charts(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for rule in CHARTS:
        (folder / f"{rule}.svg").write_text(svg_of(rule), encoding="utf-8")


def rule_text(name: str) -> str:
    """A rule in one paragraph of Markdown: what it reports, how it differs from AWS's, and its defaults."""
    if name == "ProfilerReport":
        return "**ProfilerReport** — All of the above: an issue if one of them is."
    rule = ALL_RULES[name]
    differs = f" *Differs from AWS's:* {rule.differs}" if rule.differs else ""
    defaults = ", ".join(f"`{parameter}` {value}" for parameter, value in rule.parameters.items())
    return f"**{rule.name}** — {rule.about}{differs}" + (f" Defaults: {defaults}." if defaults else "")


def faults_table() -> str:
    """A row for each fault: its name, the rule that reports it, and those that may report it too."""
    rows = [f"| {name} | {rule} | {', '.join(sorted(others)) or '–'} |" for name, (rule, others, _) in FAULTS.items()]
    return "\n".join(["| fault | reported by | may also be reported by |", "| --- | --- | --- |", *rows])


class _Rules(SphinxDirective):
    """`{profiling-rules}`"""

    def run(self) -> list[nodes.Node]:
        found = []
        for rule in CHARTS:
            found += self.parse_text_to_nodes(rule_text(rule))
            found.append(nodes.image(uri=f"/{(FOLDER / rule).as_posix()}.svg", alt=CHARTS[rule][0], width="34em"))
        return found


class _Faults(SphinxDirective):
    """`{injected-faults}`"""

    def run(self) -> list[nodes.Node]:
        return self.parse_text_to_nodes(faults_table())


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("builder-inited", lambda app: write_charts(Path(app.srcdir) / FOLDER))
    app.add_directive("profiling-rules", _Rules)
    app.add_directive("injected-faults", _Faults)
    return {"parallel_read_safe": True}
