"""A picture for each rule: the figure that it judges, on the clean run and on the run with its fault planted.

The runs are those that the tests judge; the drawings are the report's own charts, as an SVG file each.
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
        return line_chart(title, lines, x_label="seconds", y_label="seconds a step", references=marks, **more)

    return draw


def outlier_threshold(profile: Profile) -> tuple[float, str]:
    group = ALL_RULES["StepOutlier"](profile).details["groups"][0]
    return group["threshold"], "mean + 3 deviations"


def samples(name: str, *kinds: SeriesKind, limit: float | None = None, form: Format = plain, unit: str = "%") -> Draw:
    """Samples of the machine over the run with the fault, and of the clean one where there is one kind alone."""

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
    """A reduction of one tensor, look by look."""

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
    """What one picture costs on its way to the network."""

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
    return {"threads that compute": float(run.job.threads or 0), "cores": float(sum(run.job.cores.values()))}


def workers() -> dict[str, float]:
    run = fault("no workers")
    return {"loader processes": float(run.loader.workers or 0), "cores": float(sum(run.job.cores.values()))}


def initial_spreads() -> dict[str, float]:
    run = fault("bad initial weights")
    return {t.name: float(t.measures["std"][0]) for t in run.tensors if t.kind == "weight"}


def class_counts() -> dict[str, float]:
    learned = fault("class imbalance").learning
    return dict(zip(learned.class_names, learned.class_counts.astype(float).tolist(), strict=True))


def input_moments() -> dict[str, float]:
    found = {}
    for label, run in runs("images not normalized").items():
        (pictures,) = (t for t in run.tensors if t.kind == "input")
        found |= {f"{label}: {name}": float(abs(pictures.measures[name]).mean()) for name in ("mean", "std")}
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


def answers() -> dict[str, float]:
    found = [finding.status for finding in check(fault("no workers"))[:-1]]
    words = {"issue": "issue", "ok": "fine", "no_data": "no data", "not_applicable": "does not apply"}
    return {word: float(found.count(status)) for status, word in words.items()}


# rule: (what the picture shows, how it is drawn)
PICTURES: dict[str, tuple[str, Draw]] = {
    "StepOutlier": ("A dozen steps beyond the threshold", steps("slow steps now and then", outlier_threshold)),
    "Dataloader": ("No loader process on eight cores", bars(workers)),
    "SlowReader": ("What one picture costs: reading it is the most", loading("slow reader")),
    "SlowTransform": ("What one picture costs: decoding is the most", loading("CPU-bound transform")),
    "BatchSize": ("CPU, GPU and its memory all have room", gpu_boxes),
    "CPUBottleneck": ("The CPU is full while the GPU idles", samples("GPU starved by the CPU", "cpu", "gpu")),
    "IOBottleneck": ("Waiting for disks", samples("slow disk", "io_wait", limit=50)),
    "LowGPUUtilization": ("A GPU that works in bursts", samples("GPU used in bursts", "gpu")),
    "GPUMemoryIncrease": ("GPU memory that grows", samples("GPU memory leak", "gpu_memory")),
    "HostMemoryIncrease": ("Memory that grows", samples("memory leak", "process_memory", form=size, unit="")),
    "CoreOversubscription": ("More threads than cores", bars(threads)),
    "LoadBalancing": ("Two GPUs that do unequal work", two_gpus),
    "MaxInitializationTime": ("25 minutes pass before the first step", slow_start),
    "VanishingGradient": (
        "Mean size of a gradient",
        measure("vanishing gradient", "gradient", "layer4.conv", "mean_abs", limits=(1e-7,), log=True),
    ),
    "ExplodingTensor": ("A loss that is no number from step 40 on", step_losses("exploding learning rate")),
    "PoorWeightInitialization": ("Spread of initial weights, by layer", bars(initial_spreads)),
    "SaturatedActivation": (
        "Share of a tanh's values that are saturated",
        measure("saturated tanh", "activation", "gate", "saturated_share", limits=(0.5,)),
    ),
    "DeadRelu": (
        "Share of a ReLU's units that are silent",
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
        "How far a weight moved since the look before",
        measure("weights that don't move", "weight", "layer4.conv", "change"),
    ),
    "CheckInputImages": ("Mean and deviation of the pictures that reach the network", bars(input_moments)),
    "LossNotDecreasing": ("A loss that rises", step_losses("learning rate too high")),
    "Overfit": ("The validation loss turns while the training loss falls", epoch_losses("overfitting")),
    "Overtraining": ("Epochs after the losses have stopped improving", epoch_losses("trained too long")),
    "ClassImbalance": ("Training pictures, by class", bars(class_counts)),
    "StalledTraining": ("One step of 33 minutes", steps("stalled step", log_y=True)),
    "OverallSystemUsage": ("How busy the machine was in a clean run", usage),
    "OverallFrameworkMetrics": ("Where the time of training steps goes in a clean run", framework),
    "ProfilerReport": ("The answers of all rules about one run", bars(answers)),
}  # fmt: skip


def svg_of(rule: str) -> str:
    """The picture as a file of its own."""
    title, draw = PICTURES[rule]
    return standalone(title, draw(title))


def write_images(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for rule in PICTURES:
        (folder / f"{rule}.svg").write_text(svg_of(rule), encoding="utf-8")


class _RuleImage(SphinxDirective):
    """`{rule-picture} StepOutlier`"""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        rule = self.arguments[0]
        return [nodes.image(uri=f"/{(FOLDER / rule).as_posix()}.svg", alt=PICTURES[rule][0], width="34em")]


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("builder-inited", lambda app: write_images(Path(app.srcdir) / FOLDER))
    app.add_directive("rule-picture", _RuleImage)
    return {"parallel_read_safe": True}
