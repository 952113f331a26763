"""Turns a report's chart into an SVG file with title, legend and colors."""

from __future__ import annotations

import re
from pathlib import Path

from markupsafe import Markup

TEMPLATES = Path(__file__).parents[2] / "src" / "breedclf" / "reporting" / "templates"


def standalone(title: str, drawn: Markup) -> str:
    """The chart as a separate SVG file, light or dark like the reader's system."""
    chart = str(drawn)
    width, height, body = re.findall(
        r'<svg class="medium"[^>]*viewBox="0 0 ([\d.]+) ([\d.]+)"[^>]*>(.*?)</svg>', chart, re.DOTALL
    )[0]
    legend = re.findall(r'<li class="(s\d)">(.*?)</li>', chart)
    style, charts = ((TEMPLATES / name).read_text(encoding="utf-8") for name in ("style.css", "charts.css"))
    css = style[: style.index("@media print")] + charts
    rules = re.findall(r"^(?::root \{.*?^\}|\.s\d.*?$|svg .*?$)", css, re.MULTILINE | re.DOTALL)
    dark = re.findall(r"^@media \(prefers-color-scheme: dark\) \{.*?^\}", css, re.MULTILINE | re.DOTALL)
    font = "svg { font-family: system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif; }"
    named, at, top = [], 12.0, 46.0 if legend else 28.0
    for css_class, name in legend:
        named.append(f'<rect class="mark {css_class}" x="{at:.0f}" y="31" width="9" height="9" rx="2"/>')
        named.append(f'<text x="{at + 14:.0f}" y="40">{name}</text>')
        at += 32 + 7 * len(name)
    full = float(height) + top + 8
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-8 0 {float(width) + 16:.0f} {full:.0f}" width="656" '
        f'role="img"><style>{font}{"".join([*rules[:1], *dark, *rules[1:]])}</style>'
        f'<rect x="-8" width="{float(width) + 16:.0f}" height="{full:.0f}" rx="8" style="fill:var(--surface)"/>'
        f'<text class="strong" x="12" y="19">{title}</text>{"".join(named)}'
        f'<g transform="translate(0 {top:.0f})">{body}</g></svg>'
    )
