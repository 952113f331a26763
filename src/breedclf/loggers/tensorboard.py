"""Logs training runs as TensorBoard event files."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from breedclf.files.paths import StrPath, user_path
from breedclf.loggers.run_logger import RunLogger, RunStatus, metrics_of, settings_of
from breedclf.runtime.extras import require_extra
from breedclf.text.printable import storable
from breedclf.training.hooks import EpochRecord, TrainingPlan

if TYPE_CHECKING:
    from breedclf.training.fit import FitResult

FOLDER = "tensorboard"


class TensorBoardLogger(RunLogger):
    """A training hook that logs for TensorBoard: curves, hyperparameters, the best epoch and the model's path.

    If it can't write, a warning is logged once and training continues.

    Args:
        folder: where to write the event file; by default `tensorboard` in the output folder.

    Raises:
        MissingExtraError: TensorBoard isn't installed.

    Example:
        >>> from breedclf import Trainer, TrainingConfig
        >>> Trainer(TrainingConfig(data="dogImages")).fit(hooks=[TensorBoardLogger("runs/tb")])  # doctest: +SKIP
    """

    def __init__(self, folder: StrPath | None = None, *, clock: Callable[[], float] = time.time) -> None:
        require_extra("tensorboard", purpose="logging to TensorBoard", install='"breedclf[tensorboard]"')
        super().__init__("TensorBoard", _EventFile(None if folder is None else user_path(folder, "folder"), clock))


class _EventFile:
    """An event file, flushed after each epoch.

    TensorBoard's own writer uses a thread, whose exceptions (such as for a full disk) couldn't be handled.
    """

    def __init__(self, folder: Path | None, clock: Callable[[], float]) -> None:
        self._folder = folder
        self._clock = clock
        self._records: Any = None

    def start(self, plan: TrainingPlan) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.record_writer import RecordWriter

        folder = self._folder or (plan.output or plan.config.output) / FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        now = self._clock()
        file = folder / f"events.out.tfevents.{int(now):010d}.{socket.gethostname()}.{os.getpid()}.{time.time_ns()}"
        self._records = RecordWriter(file.open("xb"))
        self._records.write(Event(wall_time=now, file_version="brain.Event:2").SerializeToString())
        settings = settings_of(plan)
        as_code = "".join(f"    {line}\n" for line in json.dumps(settings, indent=2).splitlines())
        self._write([_session_start(settings, now), _text("settings", as_code)], step=0)

    def add(self, epochs: Sequence[EpochRecord]) -> None:
        for epoch in epochs:
            self._write([_scalar(name, value) for name, value in metrics_of(epoch).items()], step=epoch.epoch)

    def finish(self, result: FitResult) -> None:
        best = [_scalar(f"best/{name}", value) for name, value in metrics_of(result.best).items()]
        best += [_scalar("best/epoch", result.best_epoch), _text("artifact", storable(str(result.artifact)))]
        self._write(best, step=result.best_epoch)

    def close(self, status: RunStatus) -> None:
        self._write([_session_end(status, self._clock())], step=0)
        self._records.close()

    def _write(self, values: Sequence[Any], *, step: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        event = Event(wall_time=self._clock(), step=step, summary=Summary(value=values))
        self._records.write(event.SerializeToString())
        self._records.flush()


def _scalar(name: str, value: float) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary

    return Summary.Value(tag=name, simple_value=value)


def _text(name: str, text: str) -> Any:
    """Markdown for TensorBoard's text plugin."""
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
    from tensorboard.plugins.text.metadata import create_summary_metadata

    one = TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)])
    tensor = TensorProto(dtype="DT_STRING", string_val=[text.encode()], tensor_shape=one)
    return Summary.Value(tag=f"{name}/text_summary", metadata=create_summary_metadata("", ""), tensor=tensor)


def _session_start(settings: dict[str, Any], now: float) -> Any:
    """The settings, for TensorBoard's HParams plugin."""
    from tensorboard.plugins.hparams.metadata import SESSION_START_INFO_TAG
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionStartInfo

    start = SessionStartInfo(start_time_secs=now)
    for name, value in settings.items():
        kind = {bool: "bool_value", int: "number_value", float: "number_value"}.get(type(value), "string_value")
        setattr(start.hparams[name], kind, str(value) if kind == "string_value" else value)
    return _of_session(SESSION_START_INFO_TAG, HParamsPluginData(session_start_info=start))


def _session_end(status: RunStatus, now: float) -> Any:
    from tensorboard.plugins.hparams import api_pb2
    from tensorboard.plugins.hparams.metadata import SESSION_END_INFO_TAG
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo

    known = {"Completed": api_pb2.STATUS_SUCCESS, "Failed": api_pb2.STATUS_FAILURE}
    end = SessionEndInfo(status=known.get(status, api_pb2.STATUS_UNKNOWN), end_time_secs=now)
    return _of_session(SESSION_END_INFO_TAG, HParamsPluginData(session_end_info=end))


def _of_session(tag: str, content: Any) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams.metadata import create_summary_metadata

    return Summary.Value(tag=tag, metadata=create_summary_metadata(content))
