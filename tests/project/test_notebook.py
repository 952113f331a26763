"""The tutorial notebook runs from top to bottom, as in Jupyter, and is committed without outputs."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

HEADINGS = ["Training run", "Tuning job", "Profile of", "Evaluation on the test images"]
NOTEBOOK = Path(__file__).resolve().parents[2] / "docs/tutorials/dog_breeds.ipynb"


@pytest.fixture
def notebook() -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)


def test_the_notebook_is_committed_without_outputs(notebook: nbformat.NotebookNode) -> None:
    nbformat.validate(notebook)
    assert [cell.id for cell in notebook.cells if cell.get("outputs") or cell.get("execution_count")] == []


@pytest.mark.slow
def test_the_notebook_runs(notebook: nbformat.NotebookNode, tmp_path: Path) -> None:
    working_directory = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, kernel_name="python3", timeout=240, resources=working_directory).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    text = "".join(output.text for output in outputs if output.output_type == "stream")
    shown = [output.data["text/html"] for output in outputs if "text/html" in output.get("data", {})]
    views = [html for html in shown if html]  # progress bars are empty at their end
    assert text.count("Completed") == 6
    assert text.count("batch_size") == 6
    assert [heading for html, heading in zip(views, HEADINGS, strict=False) if heading in html] == HEADINGS
    assert '<span class="value">24</span>' in views[3]
    assert "data:image/jpeg;base64," in views[4], "the prediction shows its image"
    assert list(tmp_path.iterdir()) == [], "a notebook leaves nothing behind where it is run"
