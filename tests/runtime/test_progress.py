"""Progress appears once, where somebody can see it."""

from __future__ import annotations

import io
import logging
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from breedclf.backends.inline import _Tee
from breedclf.runtime.progress import NotebookBar, in_notebook, progress_bar, show_line
from tests.integration.conftest import write_patterns

log = logging.getLogger("breedclf.test_progress")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def published() -> Iterator[list[dict[str, Any]]]:
    """What IPython sends to a notebook."""
    from IPython.core.displaypub import CapturingDisplayPublisher
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell.instance()  # type: ignore[no-untyped-call]
    before, shell.display_pub = shell.display_pub, CapturingDisplayPublisher()
    try:
        yield shell.display_pub.outputs
    finally:
        shell.display_pub = before
        InteractiveShell.clear_instance()


def test_a_line_goes_to_the_log_or_the_terminal_but_never_to_both(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with caplog.at_level(logging.INFO, "breedclf.test_progress"):
        show_line(log, "epoch 1/3")
    assert (caplog.messages, terminal.getvalue()) == (["epoch 1/3"], "")
    with caplog.at_level(logging.WARNING, "breedclf.test_progress"):
        show_line(log, "epoch 2/3")
        assert (caplog.messages, terminal.getvalue()) == (["epoch 1/3"], "epoch 2/3\n")
        monkeypatch.setattr(sys, "stderr", file := io.StringIO())
        show_line(log, "epoch 3/3")
    assert (len(caplog.messages), file.getvalue()) == (1, "")
    assert not in_notebook()


def test_a_bar_in_a_notebook_is_one_output_that_is_empty_at_the_end(published: list[dict[str, Any]]) -> None:
    with NotebookBar(desc="<features>", total=4, unit="img", leave=False) as bar:
        assert published == [], "a short piece of work shows no bar"
        for _ in range(4):
            time.sleep(0.3)
            bar.update()
    assert len({each["transient"]["display_id"] for each in published}) == 1
    shown = [each["data"]["text/html"] for each in published]
    assert shown[0].startswith('<progress value="2" max="4"></progress> &lt;features&gt;: 50%, 2 of 4 [')
    assert shown[-1] == ""
    assert "ipywidgets" not in sys.modules


def test_without_a_terminal_there_is_no_bar() -> None:
    assert progress_bar("features", total=3).disable


def test_a_job_in_this_process_shows_no_lines_for_programs() -> None:
    class Log:
        written = b""

        def write(self, part: bytes) -> None:
            self.written += part

    class Reader:
        def feed(self, part: bytes) -> list[Any]:
            del part
            return []

    written, screen = Log(), io.StringIO()
    tee = _Tee(written, Reader(), lambda _: None, screen)  # type: ignore[arg-type]
    pieces = ["epoch 1\n", "breedclf-metrics {", '"epoch": 1}', "\n", "breedclf-metrics {}\nepoch 2", " of 2\nend"]
    for piece in pieces:
        tee.write(piece)
    assert written.written.decode() == "".join(pieces)
    assert screen.getvalue() == "epoch 1\nepoch 2 of 2\nend"


NOTEBOOK = """
import logging; logging.basicConfig(level={level})
from breedclf import Categorical, Trainer, TrainingConfig, TuningJob
config = TrainingConfig(data="pictures", architecture="resnet18", weights="none", chunk_size=8, epochs=2)
result = Trainer(config{backend}).fit()
tuning = TuningJob(config, {{"batch_size": Categorical(4, 8)}}, max_jobs=2, home="home").run()
result
"""


@pytest.mark.slow
@pytest.mark.parametrize("level", ["logging.WARNING", "logging.INFO"])
@pytest.mark.parametrize("backend", ["", ", backend='inline'"])
def test_a_notebook_shows_each_epoch_and_each_trial_once(level: str, backend: str, tmp_path: Path) -> None:
    write_patterns(tmp_path / "pictures")
    code = NOTEBOOK.format(level=level, backend=backend)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])  # type: ignore[no-untyped-call]
    where = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, kernel_name="python3", timeout=240, resources=where).execute()
    outputs = notebook.cells[0].outputs
    text = "".join(output.text for output in outputs if output.output_type == "stream")
    for epoch in (1, 2):
        assert text.count(f"epoch {epoch}/2") == 1
    assert text.count("Completed  batch_size") == 2
    assert "breedclf-metrics" not in text
    assert "IProgress" not in text
    bars = [output.data["text/html"] for output in outputs if output.output_type == "display_data"]
    assert set(bars) <= {""}
    assert outputs[-1].data["text/html"].startswith('<div class="breedclf">')
