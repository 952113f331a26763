"""The page on profiling shows every rule with its defaults and an image, and every fault; run this to rewrite it."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

from breedclf.profiling.rules import ALL_RULES
from tests.profiling.planted_faults import FAULTS

PAGE = Path(__file__).parents[2] / "docs" / "profiling.md"


def rules_part() -> str:
    lines = []
    for rule in ALL_RULES.values():
        defaults = ", ".join(f"`{name}` {value}" for name, value in rule.parameters.items())
        differs = f" *Differs from AWS's:* {rule.differs}" if rule.differs else ""
        lines.append(f"**{rule.name}** — {rule.about}{differs}" + (f" Defaults: {defaults}." if defaults else ""))
        lines.append(picture(rule.name))
    lines += ["**ProfilerReport** — All of the above: an issue when one of them is.", picture("ProfilerReport")]
    return "\n\n".join(lines)


def picture(rule: str) -> str:
    return f"```{{rule-picture}} {rule}\n```"


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


@pytest.fixture(scope="module")
def pictures() -> Iterator[ModuleType]:
    """The extension that draws, as Sphinx loads it."""
    path = PAGE.parent / "_ext" / "rule_pictures.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(path.parent)
        spec.loader.exec_module(module)
        yield module


@pytest.mark.parametrize("rule", [*ALL_RULES, "ProfilerReport"])
def test_a_rule_has_an_image_of_the_run_that_trips_it(rule: str, pictures: ModuleType) -> None:
    text = pictures.svg_of(rule)
    root = ElementTree.fromstring(text)
    shown = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert pictures.PICTURES[rule][0] in shown
    assert "No data." not in shown
    assert len(text) < 40_000
    assert not re.search(r"(?:src|href)=", text)


def test_there_is_no_image_without_a_rule(pictures: ModuleType) -> None:
    assert set(pictures.PICTURES) == {*ALL_RULES, "ProfilerReport"}


if __name__ == "__main__":
    PAGE.write_text(written(), encoding="utf-8")
