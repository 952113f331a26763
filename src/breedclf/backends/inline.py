"""`InlineBackend`: the job runs in this very process, so that breakpoints work; all else is as for other jobs."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import runpy
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

from breedclf import run
from breedclf.backends.common.archive import archive_folder
from breedclf.backends.common.bundle import Bundle, source_bundle
from breedclf.backends.common.container import ENTRY, job_arguments, job_environment, make_tree
from breedclf.backends.common.failure import failure_reason
from breedclf.backends.common.folder import JobFolder, JobState, create_job_folder
from breedclf.backends.common.stored_jobs import StoredJobs
from breedclf.backends.local.endpoints import LocalEndpoints
from breedclf.backends.local.locks import try_lock
from breedclf.backends.local.log import BoundedLog, MetricReader
from breedclf.backends.local.processes import Identity
from breedclf.backends.local.slots import cores_of_this_machine
from breedclf.errors import ConfigError
from breedclf.jobs import JobSpec, JobStatus, SecondaryStatus, require_here
from breedclf.jobs.handle import Clock

_MAX_LOG_BYTES = 64 << 20
_WATCH_SECONDS = 0.05
_EXIT_CODE_STOPPED = -int(signal.SIGTERM)


class InlineBackend(StoredJobs, LocalEndpoints):
    """Runs each job in this process: `submit` returns when the job has ended, and a debugger stops inside of it.

    A stop or the time limit reaches the job as KeyboardInterrupt, so one that hangs outside of Python's code stays.
    The job's words go to stderr and to its log. Endpoints are processes of their own, as with the local back end.

    Args:
        home: folder that holds the jobs; `BREEDCLF_HOME` or `.breedclf` if not given.
    """

    name = "inline"

    def __init__(self, home: str | Path | None = None, *, clock: Clock = time) -> None:
        super().__init__(home, clock=clock)

    def __repr__(self) -> str:
        return f"InlineBackend({str(self.home)!r})"

    def request_for(self, spec: JobSpec) -> dict[str, Any]:
        """The environment that the job would get, without running it."""
        folder = self.folder(spec.name)
        return {
            "name": spec.name,
            "folder": str(folder.path),
            "environment": _environment(folder, spec),
            "hyperparameters": dict(spec.hyperparameters),
            "channels": {name: str(path) for name, path in spec.channels.items()},
            "metric_definitions": [{"Name": each.name, "Regex": each.regex} for each in spec.metric_definitions],
            "max_runtime_seconds": spec.max_runtime_seconds,
        }

    def submit(self, spec: JobSpec) -> None:
        """Run the job to its end; what goes wrong in it is its failure reason and isn't raised.

        Raises:
            ConfigError: the name is taken, an input isn't there, or this isn't the main thread.
            KeyboardInterrupt: the user pressed Ctrl-C; the job is Stopped.
        """
        if threading.current_thread() is not threading.main_thread():
            raise ConfigError("the inline back end runs jobs in the main thread only; use LocalBackend from others")
        for channel, path in spec.channels.items():
            require_here(channel, path)
        source = None if spec.source is None else source_bundle(spec.source)
        folder = create_job_folder(self.home, spec, backend=self.name, options={}, now=self._clock.time())
        lock = try_lock(folder.lock_file)
        assert lock is not None, "nobody else knows this job yet"
        try:
            _InlineJob(folder, spec, source, self._clock).run()
        finally:
            os.close(lock)


class _InlineJob:
    """One run of one job; the writer of its state."""

    def __init__(self, folder: JobFolder, spec: JobSpec, source: Bundle | None, clock: Clock) -> None:
        self._folder = folder
        self._spec = spec
        self._source = source
        self._clock = clock
        self._state = replace(folder.read(), supervisor=Identity.of(os.getpid()).to_dict())

    def run(self) -> None:
        folder, spec = self._folder, self._spec
        watch = _Watch(folder, spec.max_runtime_seconds)
        try:
            self._enter(SecondaryStatus.DOWNLOADING, "linking the input")
            make_tree(folder, spec, None)
            self._enter(SecondaryStatus.TRAINING, "running in this process", started=self._clock.time())
            with BoundedLog(folder.log_file, max_bytes=_MAX_LOG_BYTES) as log:
                tee = _Tee(log, MetricReader(spec.metric_definitions), self._note_metrics, sys.stderr)
                exit_code = self._run_watched(tee, watch)
                tee.end()
            self._finish(exit_code, watch.fired)
        except KeyboardInterrupt:
            self._enter(SecondaryStatus.STOPPING, "interrupted", JobStatus.STOPPING)
            self._enter(SecondaryStatus.STOPPED, "stopped by Ctrl-C", JobStatus.STOPPED, ended=self._clock.time())
            raise
        except Exception as error:
            self._fail(f"the job couldn't be run: {error}")
            raise

    def _run_watched(self, tee: _Tee, watch: _Watch) -> int:
        try:
            with _job_s_surroundings(tee, self._folder, self._spec), watch:
                return self._execute()
        except KeyboardInterrupt:
            if watch.fired is None:
                raise
            return _EXIT_CODE_STOPPED

    def _execute(self) -> int:
        if self._source is None:
            return run.run(os.environ)
        code = self._folder.base / "code"
        self._source.write_to(code)
        try:
            with _script_s_surroundings(code, job_arguments(self._spec)):
                runpy.run_path(str(code / ENTRY), run_name="__main__")
        except SystemExit as error:
            if error.code is None or isinstance(error.code, int):
                return error.code or 0
            sys.stderr.write(f"{error.code}\n")
            return 1
        except Exception:  # noqa: BLE001 - as the interpreter does at the end of a script
            traceback.print_exc()
            return 1
        return 0

    def _finish(self, exit_code: int, fired: str | None) -> None:
        if fired is not None:
            self._enter(SecondaryStatus.STOPPING, fired, JobStatus.STOPPING)
        self._enter(SecondaryStatus.UPLOADING, "packing what the job wrote")
        self._folder.archives.mkdir(exist_ok=True)
        archive_folder(self._folder.model, self._folder.archives / "model.tar.gz")
        archive_folder(self._folder.output_data, self._folder.archives / "output.tar.gz")
        ended = self._clock.time()
        if fired == _Watch.MAX_RUNTIME:
            self._enter(SecondaryStatus.MAX_RUNTIME_EXCEEDED, "stopped at its limit", JobStatus.STOPPED, ended=ended)
        elif fired is not None:
            self._enter(SecondaryStatus.STOPPED, "stopped as asked", JobStatus.STOPPED, ended=ended)
        elif exit_code == 0:
            self._enter(SecondaryStatus.COMPLETED, "done", JobStatus.COMPLETED, ended=ended)
        else:
            self._fail(failure_reason(self._folder, exit_code))

    def _fail(self, reason: str) -> None:
        self._enter(SecondaryStatus.FAILED, "failed", JobStatus.FAILED, ended=self._clock.time(), failure_reason=reason)

    def _enter(self, secondary: SecondaryStatus, message: str, status: JobStatus | None = None, **changes: Any) -> None:
        now = self._clock.time()
        description = self._state.description.entered(secondary, now, message, status=status, **changes)
        self._save(replace(self._state, description=description))
        self._folder.add_event("status", now, status=secondary, message=message)

    def _note_metrics(self, values: Mapping[str, float]) -> None:
        description = self._state.description
        metrics = {**description.metrics, **values}
        self._save(replace(self._state, description=replace(description, metrics=metrics)))
        self._folder.add_event("metrics", self._clock.time(), values=dict(values))

    def _save(self, state: JobState) -> None:
        self._state = state
        self._folder.write(state)


class _Tee(io.TextIOBase):
    """Stands in for stdout and stderr: writes to the job's log and to whoever watches."""

    def __init__(self, log: BoundedLog, reader: MetricReader, note: Any, watched: TextIO) -> None:
        self._log = log
        self._reader = reader
        self._note = note
        self._watched = watched
        self._mutex = threading.Lock()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        part = text.encode("utf-8", errors="backslashreplace")
        with self._mutex:
            self._log.write(part)
            found = self._reader.feed(part)
        for values in found:
            self._note(values)
        self._watched.write(text)
        return len(text)

    def flush(self) -> None:
        self._watched.flush()

    def end(self) -> None:
        """Read the metrics of a last line without an end."""
        for values in self._reader.end():
            self._note(values)


class _Watch:
    """Interrupts the main thread when the job is asked to stop or its time is over."""

    MAX_RUNTIME = "its time is over"
    STOP = "asked to stop"

    def __init__(self, folder: JobFolder, max_seconds: float) -> None:
        self.fired: str | None = None
        self._folder = folder
        self._max_seconds = max_seconds
        self._over = threading.Event()
        self._mutex = threading.Lock()
        self._thread = threading.Thread(target=self._watch, name="breedclf-inline-watch", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *ignored: object) -> None:
        with self._mutex:
            self._over.set()
        if self.fired is not None and ignored[0] is None:
            time.sleep(2 * _WATCH_SECONDS)  # the interrupt is on its way: have it here, not in the caller's code
        self._thread.join()

    def _watch(self) -> None:
        until = time.monotonic() + self._max_seconds
        while not self._over.wait(_WATCH_SECONDS):
            reason = (
                self.STOP
                if self._folder.stop_file.exists()
                else self.MAX_RUNTIME
                if time.monotonic() >= until
                else None
            )
            with self._mutex:
                if reason is not None and not self._over.is_set():
                    self.fired = reason
                    _interrupt_main_thread()
                    return


def _interrupt_main_thread() -> None:
    main = threading.main_thread().ident
    if hasattr(signal, "pthread_kill") and main is not None:
        signal.pthread_kill(main, signal.SIGINT)  # wakes it from a sleep, too
    else:
        signal.raise_signal(signal.SIGINT)


@contextlib.contextmanager
def _job_s_surroundings(tee: _Tee, folder: JobFolder, spec: JobSpec) -> Iterator[None]:
    """The job's environment, output and logging for the block; SIGINT raises KeyboardInterrupt."""
    logger = logging.getLogger("breedclf")
    handlers, level, propagate = logger.handlers, logger.level, logger.propagate
    variables = dict(os.environ)
    handler = logging.StreamHandler(tee)
    handler.setFormatter(logging.Formatter("%(message)s"))
    on_interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.INFO)
        os.environ.update(_environment(folder, spec))
        with contextlib.redirect_stdout(tee), contextlib.redirect_stderr(tee):
            yield
    finally:
        signal.signal(signal.SIGINT, on_interrupt)
        os.environ.clear()
        os.environ.update(variables)
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)


@contextlib.contextmanager
def _script_s_surroundings(code: Path, arguments: list[str]) -> Iterator[None]:
    """The arguments, the folder and the module path of a script; modules it imported from its folder are forgotten."""
    argv, path, here = sys.argv, list(sys.path), Path.cwd()
    sys.argv = [str(code / ENTRY), *arguments]
    sys.path.insert(0, str(code))
    os.chdir(code)
    try:
        yield
    finally:
        os.chdir(here)
        sys.argv, sys.path[:] = argv, path
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", None) or "").startswith(f"{code}{os.sep}"):
                del sys.modules[name]


def _environment(folder: JobFolder, spec: JobSpec) -> dict[str, str]:
    own = job_environment(folder, spec, cores=cores_of_this_machine(), gpus=(), outer={})
    return {name: value for name, value in own.items() if not name.endswith("_NUM_THREADS")}
