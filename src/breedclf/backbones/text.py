"""Comparisons and lists of backbones as tables of text, at most 100 columns wide."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from textwrap import fill

from breedclf.backbones.catalogue import ListedBackbone
from breedclf.backbones.comparison import BackboneComparison, ComparedBackbone
from breedclf.evaluation.paired import equals, p_text
from breedclf.reporting.formats import percent

_WIDTH = 100
_NAME_WIDTH = 34
_LICENSE_WIDTH = 14
_NOT_REPEATED = {"data", "architecture", "output", "resume", "metrics"}


def comparison_text(comparison: BackboneComparison) -> str:
    """The candidates, and which one to take; a star marks it."""
    head = ("", "backbone", "accuracy", "95% interval", "p", "images/s", "MB", "license")
    rows = [_compared(each, is_best=each is comparison.best) for each in comparison.candidates]
    lines = [*table_lines(head, rows, left=(0, 1, 7)), ""]
    lines += [f"{name} isn't compared: {reason}" for name, reason in comparison.left_out.items()]
    return "\n".join([*lines, *(fill(line, _WIDTH, break_on_hyphens=False) for line in conclusion(comparison))])


def conclusion(comparison: BackboneComparison) -> list[str]:
    """What was compared, and which candidate to take, in sentences."""
    best, top, first = comparison.best, comparison.most_accurate, comparison.candidates[0]
    part = "" if comparison.images == comparison.available else f" of {comparison.available:,}"
    lines = [
        f"{comparison.images:,}{part} training and validation images of {comparison.classes} classes, "
        f"{comparison.folds} folds; p: McNemar's exact test against {first.name}"
    ]
    if len(comparison.candidates) == 1:
        return [*lines, f"best: {best.name}, the only candidate"]
    if best is top:
        faster = [each for each in comparison.candidates if each.images_per_second > best.images_per_second]
        why = "no faster one is as accurate" if faster else "no other is faster"
        return [*lines, f"best: {best.name}: the most accurate, and {why}"]
    times = best.images_per_second / top.images_per_second
    return [
        *lines,
        f"best: {best.name}: {times:.1f} times as fast as {top.name}, the most accurate, and the difference in "
        f"accuracy may be chance (p {equals(best.p_value_of_best)})",
    ]


def next_command(comparison: BackboneComparison) -> str:
    """The command that trains a model with the best candidate, with the settings of the comparison."""
    config = comparison.best.config
    words = ["breedclf", "train", str(config.data or "DIR"), "--architecture", config.architecture]
    for name in sorted(config.model_fields_set - _NOT_REPEATED):
        value, flag = getattr(config, name), name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        elif value is not None:
            words += [f"--{flag}", str(value)]
    return shlex.join(words)


def list_text(backbones: Sequence[ListedBackbone]) -> str:
    """One line per backbone and weights."""
    head = ("backbone", "weights", "top-1", "params (M)", "GFLOPs", "MB", "px", "license")
    rows = [
        (
            _shortened(each.name, _NAME_WIDTH),
            each.weights,
            "-" if each.top1 is None else percent(each.top1),
            f"{each.parameters / 1e6:.1f}",
            "-" if each.gflops is None else f"{each.gflops:.2f}",
            f"{each.size_mb:.0f}",
            str(each.image_px),
            _shortened(license_text(each.license), _LICENSE_WIDTH),
        )
        for each in backbones
    ]
    return "\n".join(table_lines(head, rows, left=(0, 1, 7)))


def speed_text(images_per_second: float) -> str:
    """Images per second: a decimal only for slow ones."""
    return f"{images_per_second:.1f}" if images_per_second < 10 else f"{images_per_second:,.0f}"


def _compared(each: ComparedBackbone, *, is_best: bool) -> tuple[str, ...]:
    low, high = each.accuracy_interval
    return (
        "*" if is_best else "",
        _shortened(each.name, _NAME_WIDTH),
        percent(each.accuracy),
        f"{percent(low)} to {percent(high)}",
        p_text(each.p_value),
        speed_text(each.images_per_second),
        f"{each.model_mb:.0f}",
        _shortened(license_text(each.license), _LICENSE_WIDTH),
    )


def table_lines(head: Sequence[str], rows: Sequence[Sequence[str]], *, left: Sequence[int]) -> list[str]:
    """The rows below their head; columns are right-aligned but for those in `left`."""
    widths = [max(len(row[at]) for row in (head, *rows)) for at in range(len(head))]
    return [
        "  ".join(
            cell.ljust(width) if at in left else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (head, *rows)
    ]


def license_text(name: str | None) -> str:
    """The name of a license without a remark in parentheses."""
    return (name or "unknown").partition(" (")[0]


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
