"""The HTML report of a comparison: accuracy and speed of each backbone, which one to take, and why."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from markupsafe import Markup

from breedclf._version import __version__
from breedclf.backbones.comparison import BackboneComparison, ComparedBackbone
from breedclf.backbones.text import conclusion, license_text, next_command, speed_text
from breedclf.evaluation.paired import LEVEL, equals, p_text
from breedclf.reporting import Section, render_page
from breedclf.reporting.blocks import Column, Tile, bullets, callout, details, facts, table, tiles
from breedclf.reporting.charts import Bar, Series, bar_chart, scatter_chart
from breedclf.reporting.formats import percent, plain, seconds, whole


def comparison_page(comparison: BackboneComparison, *, made_at: datetime | None = None) -> str:
    """Render the report; `made_at` is the time in the footer."""
    best = comparison.best
    return render_page(
        f"Backbone {best.name}",
        [_charts(comparison), _table(comparison), _reading(comparison), _cost(comparison), *_left_out(comparison)],
        subtitle=f"{len(comparison.candidates)} backbones compared on {_data(comparison)}",
        summary=[
            callout("ok", f"Take {best.name}.", *_why(comparison)),
            tiles(_headline(comparison)),
        ],
        made_by=f"breedclf {__version__}",
        made_at=made_at,
    )


def _data(comparison: BackboneComparison) -> str:
    data = comparison.best.config.data
    return "images of the program" if data is None else data.name


def _why(comparison: BackboneComparison) -> list[str]:
    """The pick in words."""
    sentences = [f"{conclusion(comparison)[-1].removeprefix('best: ')}."]
    for each in comparison.candidates:
        if each is not comparison.best and each.p_value_of_best < LEVEL:
            sentences.append(
                f"{each.name} is less accurate than {comparison.most_accurate.name} (p {equals(each.p_value_of_best)})."
            )
    return sentences


def _headline(comparison: BackboneComparison) -> list[Tile]:
    best = comparison.best
    low, high = best.accuracy_interval
    images = f"{whole(best.correct)} of {whole(comparison.images)} images"
    return [
        Tile("Accuracy", percent(best.accuracy), images),
        Tile("95% interval", f"{percent(low)} – {percent(high)}", "of the true accuracy"),
        Tile("Images per second", speed_text(best.images_per_second), f"{comparison.device}, {comparison.precision}"),
        Tile("Model", f"{best.model_mb:,.0f} MB", f"{best.parameters / 1e6:.1f} million parameters"),
    ]


def _charts(comparison: BackboneComparison) -> Section:
    candidates = comparison.candidates
    by_speed = scatter_chart(
        "Accuracy by images per second",
        [Series(each.name, [each.images_per_second], [each.accuracy]) for each in candidates],
        x_label="images per second on this machine",
        y_label="accuracy",
        y_format=percent,
        log_x=True,
        tips=[[_tip(each)] for each in candidates],
        intervals=[[each.accuracy_interval] for each in candidates],
        highlight=(candidates.index(comparison.best), 0),
        full=True,
        note="Up is more accurate, right is faster. Lines are 95% intervals; the ring marks the best choice.",
    )
    bars = [
        Bar(
            each.name,
            each.accuracy,
            *each.accuracy_interval,
            note=f"{speed_text(each.images_per_second)} images/s",
            tone="ok" if each is comparison.best else "",
        )
        for each in sorted(candidates, key=lambda each: -each.accuracy)
    ]
    by_name = bar_chart("Accuracy, with 95% intervals", bars, format=percent, maximum=1, full=True)
    return Section("Accuracy and speed", [by_speed, by_name])


def _tip(each: ComparedBackbone) -> str:
    low, high = each.accuracy_interval
    return (
        f"{each.name}: {percent(each.accuracy)} ({percent(low)} to {percent(high)}), "
        f"{speed_text(each.images_per_second)} images per second"
    )


def _table(comparison: BackboneComparison) -> Section:
    columns: list[Column | str] = [
        "Backbone", Column("Accuracy", True, percent), Column("95% interval", True), Column("p, first", True, p_text),
        Column("p, best", True, p_text), Column("Images/s", True, speed_text), Column("MB", True, whole), "License",
    ]  # fmt: skip
    networks: list[Column | str] = [
        "Backbone", "Weights", Column("Parameters", True, _millions), Column("Features", True, whole),
        Column("Pixels", True, whole),
    ]  # fmt: skip
    lead = (
        f"p, first: McNemar's exact test against {comparison.candidates[0].name}. p, best: the same test against "
        f"{comparison.most_accurate.name}, the most accurate. A p-value below {LEVEL:g} means that the difference is "
        "hardly chance."
    )
    accuracy = [_accuracy(each, is_best=each is comparison.best) for each in comparison.candidates]
    about = [(each.name, each.weights, each.parameters, each.features, each.image_px) for each in comparison.candidates]
    return Section(
        "All candidates",
        [
            table("Candidates, in the given order", columns, accuracy),
            details("Networks and weights", table("Networks and weights", networks, about)),
        ],
        lead=lead,
    )


def _accuracy(each: ComparedBackbone, *, is_best: bool) -> Sequence[object]:
    low, high = each.accuracy_interval
    name = Markup("<strong>{}</strong>").format(each.name) if is_best else each.name
    return (
        name, each.accuracy, f"{percent(low)} – {percent(high)}", each.p_value, each.p_value_of_best,
        each.images_per_second, each.model_mb, license_text(each.license),
    )  # fmt: skip


def _reading(comparison: BackboneComparison) -> Section:
    part = (
        "all training and validation images"
        if comparison.images == comparison.available
        else f"{whole(comparison.images)} of {whole(comparison.available)} training and validation images, evenly over "
        "the classes"
    )
    return Section(
        "How to read this",
        [
            bullets(
                [
                    f"Every backbone was frozen, and a head was trained on its features of {part}. Each image was "
                    f"classified by a head that was trained on the other {comparison.folds - 1} of "
                    f"{comparison.folds} folds. The test images weren't used.",
                    "McNemar's test counts the images that only one of two backbones classifies correctly. It finds "
                    "smaller differences than a comparison of intervals, since both classify the same images.",
                    "The best choice is the fastest backbone that can't be distinguished from the most accurate one. "
                    "With more images, smaller differences can be found.",
                    "The more candidates, the more their best accuracy is due to chance: evaluate the trained model "
                    "on the test images.",
                    "Many published weights were trained on ImageNet. Images that it contains are classified better "
                    "than new ones.",
                ]
            )
        ],
    )


def _cost(comparison: BackboneComparison) -> Section:
    best = comparison.best
    passes = [(f"Features of {each.name}", _pass(each)) for each in comparison.candidates]
    pairs: list[tuple[str, object]] = [
        (f"{whole(1000)} predictions with {best.name}", f"{seconds(1000 / best.images_per_second)} and decoding"),
        *passes,
        ("The comparison", seconds(comparison.seconds)),
    ]
    if comparison.budget_seconds is not None:
        pairs.append(("Its budget", seconds(comparison.budget_seconds)))
    command = Markup("<p><code>{}</code></p>").format(next_command(comparison))
    lead = "Training finds the features of these images in the store, so that it takes seconds."
    return Section("Cost, and what is next", [facts(pairs), command], lead=lead)


def _pass(each: ComparedBackbone) -> str:
    return f"{seconds(each.seconds)}; {whole(each.computed)} images computed, {whole(each.reused)} from the store"


def _left_out(comparison: BackboneComparison) -> list[Section]:
    lines = [f"{name}: {reason}" for name, reason in comparison.left_out.items()]
    lines += [f"skipped: {reason}" for reason in comparison.skipped]
    return [Section("Left out", [bullets(lines)])] if lines else []


def _millions(value: float) -> str:
    return f"{plain(value / 1e6, 3)} M"
