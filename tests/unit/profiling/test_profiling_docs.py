"""The page on profiling names every rule with its defaults, and every planted fault; run this file to rewrite both."""

from __future__ import annotations

import re
from pathlib import Path

from planted_faults import FAULTS

from breedclf.profiling.rules import ALL_RULES

PAGE = Path(__file__).parents[3] / "docs" / "profiling.md"


def rules_part() -> str:
    lines = []
    for rule in ALL_RULES.values():
        defaults = ", ".join(f"`{name}` {value}" for name, value in rule.parameters.items())
        differs = f" *Differs from AWS's:* {rule.differs}" if rule.differs else ""
        lines.append(f"**{rule.name}** — {rule.about}{differs}" + (f" Defaults: {defaults}." if defaults else ""))
    lines.append("**ProfilerReport** — All of the above: an issue when one of them is.")
    return "\n\n".join(lines)


def faults_part() -> str:
    rows = [
        f"| {fault} | {rule} | {', '.join(sorted(with_it)) or '–'} |" for fault, (rule, with_it, _) in FAULTS.items()
    ]
    return "\n".join(["| fault | named by | may come with it |", "| --- | --- | --- |", *rows])


def written() -> str:
    text = PAGE.read_text(encoding="utf-8")
    for start, end, part in (
        (r"<!-- made by \S+ -->\n", "<!-- end -->", rules_part()),
        (r"<!-- faults made by \S+ -->\n", "<!-- end of faults -->", faults_part()),
    ):
        text = re.sub(f"({start}).*?({end})", lambda m, p=part: f"{m[1]}\n{p}\n\n{m[2]}", text, flags=re.DOTALL)
    return text


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == written(), f"run: python {Path(__file__).name}"


if __name__ == "__main__":
    PAGE.write_text(written(), encoding="utf-8")
