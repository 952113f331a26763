"""What is tracked belongs to the project alone: no machine's paths, no index host, no stray large file."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

MOST_BYTES = 1_000_000
MOST_LINES_OF_A_MODULE = 500
# Written so that this file doesn't match itself.
MACHINE_PATH = re.compile(r"(?<![\w./-])/(?:work|root|home/\w+|Users/\w+)" + "/")
INDEX_HOST = re.compile(
    r"https?://\S*(?:py" + r"pi|pythonhosted|artifactory|nexus|/simple\b)|(?:extra-)?index" + "-url"
)


@pytest.fixture(scope="module")
def tracked(project_root: Path) -> list[Path]:
    listing = subprocess.run(["git", "-C", str(project_root), "ls-files", "-z"], capture_output=True, text=True)
    if listing.returncode:
        pytest.skip("not a git checkout")
    return [path for name in listing.stdout.split("\0") if name and (path := project_root / name).is_file()]


def _lines(paths: list[Path], pattern: re.Pattern[str]) -> list[str]:
    found = []
    for path in paths:
        text = path.read_bytes().decode("utf-8", errors="replace")
        found += [f"{path}: {line.strip()}" for line in text.splitlines() if pattern.search(line)]
    return found


def test_nothing_names_a_path_of_one_machine(tracked: list[Path]) -> None:
    assert _lines(tracked, MACHINE_PATH) == []


def test_nothing_names_an_index_host(tracked: list[Path]) -> None:
    assert _lines(tracked, INDEX_HOST) == []


def test_no_tracked_file_is_large(tracked: list[Path]) -> None:
    assert [path for path in tracked if path.stat().st_size > MOST_BYTES] == []


def test_a_module_is_short_and_says_its_subject_first(tracked: list[Path], project_root: Path) -> None:
    modules = [path for path in tracked if path.suffix == ".py" and project_root / "src" in path.parents]
    assert modules
    texts = {path: path.read_text(encoding="utf-8") for path in modules}
    assert [path for path, text in texts.items() if text.count("\n") > MOST_LINES_OF_A_MODULE] == []
    subjectless = [path for path, text in texts.items() if not text.startswith('"""')]
    assert [path for path in subjectless if path.name != "__main__.py"] == []


@pytest.mark.parametrize(
    "line", ["see /wo" + "rk/main", "at '/ro" + "ot/x'", "https://py" + "pi.org/x", "--index" + "-url"]
)
def test_the_patterns_find_what_they_are_for(line: str) -> None:
    assert MACHINE_PATH.search(line) or INDEX_HOST.search(line)
