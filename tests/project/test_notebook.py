"""The tutorial notebooks run from top to bottom, as in Jupyter, and are committed without outputs."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from breedclf.journey.settings import STEPS

HEADINGS = ["Training run", "Tuning job", "Profile of", "Evaluation on the test images"]
TUTORIALS = Path(__file__).resolve().parents[2] / "docs/tutorials"
NOTEBOOKS = ["dog_breeds.ipynb", "journey.ipynb"]


def _run(name: str, folder: Path) -> tuple[str, list[str]]:
    """The text that a notebook prints, and the HTML that it shows; progress bars are empty at their end."""
    notebook = nbformat.read(TUTORIALS / name, as_version=4)
    working_directory = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, kernel_name="python3", timeout=240, resources=working_directory).execute()
    assert list(folder.iterdir()) == [], "a notebook leaves nothing behind where it is run"
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    text = "".join(output.text for output in outputs if output.output_type == "stream")
    shown = [output.data["text/html"] for output in outputs if "text/html" in output.get("data", {})]
    return text, [html for html in shown if html]


def test_every_notebook_is_tested() -> None:
    assert sorted(path.name for path in TUTORIALS.glob("*.ipynb")) == NOTEBOOKS


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_notebook_is_committed_without_outputs(name: str) -> None:
    notebook = nbformat.read(TUTORIALS / name, as_version=4)
    nbformat.validate(notebook)
    assert [cell.id for cell in notebook.cells if cell.get("outputs") or cell.get("execution_count")] == []


@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path) -> None:
    text, views = _run("dog_breeds.ipynb", tmp_path)
    assert text.count("Completed") == 6
    assert text.count("batch_size") == 6
    assert [heading for html, heading in zip(views, HEADINGS, strict=False) if heading in html] == HEADINGS
    assert '<span class="value">24</span>' in views[3]
    assert "data:image/jpeg;base64," in views[4], "the prediction shows its image"


@pytest.mark.slow
def test_the_notebook_of_the_journey_runs(tmp_path: Path) -> None:
    text, views = _run("journey.ipynb", tmp_path)
    states = dict(re.findall(r"^(\S+) +(Completed|Skipped) ", text, re.MULTILINE))
    assert list(states) == list(STEPS)
    assert [name for name, state in states.items() if state == "Skipped"] == ["backbones"], "it wasn't asked for"
    assert "['deploy', 'predict', 'clean-up']" in text, "only what ends with the process is repeated"
    assert "1 ['live']" in text
    assert len(views) == 2
    assert all("data:image/jpeg;base64," in html for html in views)
