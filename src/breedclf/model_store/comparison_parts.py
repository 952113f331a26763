"""Parts of what is shown of a comparison, without looking at an image; torch isn't needed for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from breedclf.evaluation.paired import p_text
from breedclf.model_store.comparison import FlippedImage, ModelComparison
from breedclf.reporting import Section
from breedclf.reporting.blocks import Column, Tile, Tone, details, table
from breedclf.reporting.charts import Bar, bar_chart, stacked_bar_chart
from breedclf.reporting.formats import percent, whole

SHOWN = 12
"""Images shown of those that were mended, and of those that were broken; the others are listed."""
_BARS = 25


def verdict_of(comparison: ModelComparison) -> tuple[Tone, str, list[str]]:
    """The tone, the heading and the sentences of a callout about a comparison."""
    heading = f"{comparison.verdict}."
    low, high = comparison.difference_interval
    interval = (
        f"The difference in accuracy, {comparison.b} minus {comparison.a}, is between {points(low)} and "
        f"{points(high)} percentage points (95% confidence)."
    )
    if comparison.better is None:
        return "info", heading, [interval, "The difference may be chance: more images would show smaller ones."]
    return ("ok" if comparison.better == comparison.b else "bad"), heading, [interval]


def headline(comparison: ModelComparison) -> list[Tile]:
    """The figures of a comparison that matter most."""
    low, high = comparison.difference_interval
    return [
        Tile("Mended", whole(comparison.only_b), f"only {comparison.b} is right"),
        Tile("Broken", whole(comparison.only_a), f"only {comparison.a} is right"),
        Tile("Difference", f"{points(comparison.difference)} points", f"95% interval {points(low)} to {points(high)}"),
        Tile("p", p_text(comparison.p_value), "McNemar's exact test, two-sided"),
    ]


def figures(comparison: ModelComparison) -> Section:
    """Both models: which of them is right on how many images, and their accuracies."""
    bars = [
        Bar(name, accuracy, *interval, note=f"of {whole(comparison.count)}")
        for name, accuracy, interval in (
            (comparison.a, comparison.accuracy_a, comparison.interval_a),
            (comparison.b, comparison.accuracy_b, comparison.interval_b),
        )
    ]
    counts = table(
        "Images by which model is right",
        ["images where", Column(f"{comparison.b} right", True, whole), Column(f"{comparison.b} wrong", True, whole)],
        [
            (f"{comparison.a} right", comparison.both, comparison.only_a),
            (f"{comparison.a} wrong", comparison.only_b, comparison.neither),
        ],
    )
    chart = bar_chart("Accuracy, with 95% intervals", bars, format=percent, maximum=1, full=True)
    lead = "Only the images on which the models differ say which one is better."
    return Section("Both models", [counts, chart], lead=lead)


def by_class(comparison: ModelComparison) -> Section:
    """The classes that changed, the largest change first."""
    changed, class_name = comparison.changed_classes, class_names(comparison)
    if not changed:
        return Section("By class", ["Both models predict the same images of each class correctly."])
    chart = stacked_bar_chart(
        "Images that exactly one model predicts correctly",
        [class_name(each.label) for each in changed],
        {
            f"mended: only {comparison.b} is right": [each.only_second for each in changed],
            f"broken: only {comparison.a} is right": [each.only_first for each in changed],
        },
        format=whole,
        most=_BARS,
        full=True,
    )
    columns: list[Column | str] = [
        "Class", Column("Images", True, whole), Column("Mended", True, whole), Column("Broken", True, whole),
        Column("Net", True, _signed),
    ]  # fmt: skip
    rows = [
        (class_name(each.label), each.count, each.only_second, each.only_first, each.only_second - each.only_first)
        for each in changed
    ]
    listing = details(f"Table of {whole(len(rows))} classes", table("Changes by class", columns, rows))
    same = len(comparison.classes) - len(changed)
    lead = "The largest changes first." + (f" {whole(same)} of the classes have none." if same else "")
    return Section("By class", [chart, listing], lead=lead)


def spread(flipped: Sequence[FlippedImage]) -> list[FlippedImage]:
    """At most `SHOWN`, at equal distances, so that they are of many classes."""
    shown = min(SHOWN, len(flipped))
    return [flipped[number * len(flipped) // shown] for number in range(shown)]


def class_names(comparison: ModelComparison) -> Callable[[str], str]:
    """A function that returns the name of a class by its label."""
    known = {} if comparison.sources is None else comparison.sources.class_names
    return lambda label: known.get(label, label)


def points(share: float) -> str:
    """A difference of shares as percentage points with a sign.

    Example:
        >>> points(0.0031), points(-0.02)
        ('+0.31', '−2.00')
    """
    return f"{100 * share:+.2f}".replace("-", "−")


def _signed(value: float) -> str:
    return f"{value:+.0f}".replace("-", "−") if value else "0"


def images_text(count: int) -> str:
    """A number of images in words."""
    return f"{whole(count)} image" + ("" if count == 1 else "s")
