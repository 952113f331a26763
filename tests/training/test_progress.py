"""Who sees how a training goes: the logger's listeners, or else a person at a terminal, and nobody twice."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from breedclf import TrainingConfig
from breedclf.training.hooks import EpochRecord, TrainingPlan
from breedclf.training.progress import ProgressLog


@contextmanager
def listeners(level: int) -> Iterator[None]:
    """Within it the library's log is heard by nobody but its own handlers, from that level on."""
    logger = logging.getLogger("breedclf")
    before = logger.level, logger.propagate
    logger.propagate = False
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.level, logger.propagate = before


def watched(tmp_path: Path, *, metric_lines: bool = False) -> None:
    hook = ProgressLog(metric_lines=metric_lines)
    hook.on_start(TrainingPlan(TrainingConfig(data=tmp_path), ["a", "b"], 8, 4, "cpu", "fp32"))
    hook.on_epoch(EpochRecord(1, 0.5, 0.4, 0.75, 100.0))


@pytest.mark.parametrize("terminal", [True, False])
def test_a_plain_script_shows_epochs_at_a_terminal_only(
    tmp_path: Path, terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal)
    with listeners(logging.WARNING):
        watched(tmp_path)
    shown = capsys.readouterr().err
    assert ("epoch 1/3  train loss 0.5000  valid loss 0.4000  valid accuracy 75.0%" in shown) is terminal
    assert "breedclf-metrics" not in shown


@pytest.mark.parametrize("in_a_job", [False, True])
def test_whoever_listens_to_the_log_hears_each_line_once_and_a_job_s_log_its_metrics(
    tmp_path: Path, in_a_job: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    heard: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: heard.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("breedclf")
    logger.addHandler(handler)
    try:
        with listeners(logging.INFO):
            watched(tmp_path, metric_lines=in_a_job)
    finally:
        logger.removeHandler(handler)
    assert [line.split()[0] for line in heard] == ["training", "epoch"] + ["breedclf-metrics"] * in_a_job
    assert capsys.readouterr().err == ""
