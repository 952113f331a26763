"""The page of profiling rules shows every rule with its defaults and a chart, and every fault."""

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

ROOT = next(path for path in Path(__file__).resolve().parents if (path / "pyproject.toml").is_file())
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def charts() -> Iterator[ModuleType]:
    """The extension that draws, as Sphinx loads it."""
    path = DOCS / "_ext" / "rule_charts.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(path.parent)
        spec.loader.exec_module(module)
        yield module


def test_the_page_has_both_directives() -> None:
    page = (DOCS / "reference/profiling-rules.md").read_text(encoding="utf-8")
    assert re.findall(r"^```\{([\w-]+)\}$", page, re.MULTILINE) == ["profiling-rules", "injected-faults"]


@pytest.mark.parametrize("rule", [*ALL_RULES, "ProfilerReport"])
def test_a_rule_has_a_chart_of_the_run_that_triggers_it(rule: str, charts: ModuleType) -> None:
    text = charts.svg_of(rule)
    root = ElementTree.fromstring(text)
    shown = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert charts.CHARTS[rule][0] in shown
    assert "No data." not in shown
    assert len(text) < 40_000
    assert not re.search(r"(?:src|href)=", text)


@pytest.mark.parametrize("rule", ALL_RULES)
def test_a_rule_is_described_with_its_defaults(rule: str, charts: ModuleType) -> None:
    text = charts.rule_text(rule)
    assert text.startswith(f"**{rule}** — ")
    assert [name for name in ALL_RULES[rule].parameters if f"`{name}`" not in text] == []


def test_there_is_no_chart_without_a_rule(charts: ModuleType) -> None:
    assert set(charts.CHARTS) == {*ALL_RULES, "ProfilerReport"}


def test_every_fault_has_a_row(charts: ModuleType) -> None:
    rows = [line.split(" | ")[0].removeprefix("| ") for line in charts.faults_table().splitlines()[2:]]
    assert rows == list(FAULTS)
