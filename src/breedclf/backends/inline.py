"""`InlineBackend`: runs each job in this process, so that breakpoints work."""

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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

from breedclf import run
from breedclf.backends.common.bundle import Bundle, write_own_modules
from breedclf.backends.common.container import ENTRY, job_arguments, job_environment, make_tree
from breedclf.backends.common.folder import JobFolder, create_job_folder, job_folder
from breedclf.backends.common.job_log import BoundedLog, MetricReader
from breedclf.backends.common.job_writer import Ending, JobWriter
from breedclf.backends.common.locks import try_lock
from breedclf.backends.common.processes import Identity
from breedclf.backends.common.submission import checked_source, job_request
from breedclf.backends.local.stored_backend import StoredBackend
from breedclf.errors import ConfigError
from breedclf.files.paths import StrPath
from breedclf.jobs import JobSpec, JobStatus, SecondaryStatus
from breedclf.jobs.metric_lines import MARKER
from breedclf.jobs.waiting import SYSTEM_CLOCK, Clock
from breedclf.runtime.machine import available_cores
from breedclf.runtime.progress import in_notebook

_MAX_LOG_BYTES = 64 << 20
_WATCH_SECONDS = 0.05
_EXIT_CODE_STOPPED = -int(signal.SIGTERM)


class InlineBackend(StoredBackend):
    """Runs each job in this process: `submit` returns when the job has ended, and a debugger stops inside the job.

    A stop request or the time limit raises KeyboardInterrupt in the job, which can't interrupt native code. The job's
    output goes to stderr and to its log. Endpoints are separate processes, as with the local backend.

    Args:
        home: folder of jobs and endpoints; `BREEDCLF_HOME` or `.breedclf` if not given.

    Example:
        >>> InlineBackend("/tmp/jobs").name
        'inline'
    """

    name = "inline"

    def __init__(self, home: StrPath | None = None, *, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__(home, clock=clock)

    def __repr__(self) -> str:
        return f"InlineBackend({str(self.home)!r})"

    def request_for(self, spec: JobSpec) -> dict[str, Any]:
        """The environment and inputs that the job would get, without running it."""
        folder = job_folder(self.home, spec.name)
        return job_request(folder, spec, _environment(folder, spec))

    def submit(self, spec: JobSpec) -> None:
        """Run the job to its end; an error of the job becomes its failure reason and isn't raised.

        Raises:
            ConfigError: the name is taken, an input is missing, or this isn't the main thread.
            KeyboardInterrupt: the user pressed Ctrl-C; the job is Stopped.
        """
        if threading.current_thread() is not threading.main_thread():
            raise ConfigError("the inline backend runs jobs in the main thread only; use LocalBackend in other threads")
        source = checked_source(spec)
        folder = create_job_folder(self.home, spec, backend=self.name, options={}, now=self._clock.time())
        lock = try_lock(folder.lock_file)
        assert lock is not None, "the job is new"
        try:
            _InlineJob(folder, spec, source, self._clock).run()
        finally:
            os.close(lock)


class _InlineJob:
    """One run of one job."""

    def __init__(self, folder: JobFolder, spec: JobSpec, source: Bundle | None, clock: Clock) -> None:
        self._folder = folder
        self._spec = spec
        self._source = source
        self._clock = clock
        state = replace(folder.read(), supervisor=Identity.of(os.getpid()).to_dict())
        self._writer = JobWriter(folder, state, clock)

    def run(self) -> None:
        folder, spec, writer = self._folder, self._spec, self._writer
        watch = _Watch(folder, spec.max_runtime_seconds)
        try:
            writer.enter(SecondaryStatus.DOWNLOADING, "linking the inputs")
            make_tree(folder, spec, None)
            writer.enter(SecondaryStatus.TRAINING, "running in this process", started=self._clock.time())
            with BoundedLog(folder.log_file, max_bytes=_MAX_LOG_BYTES) as log:
                screen = sys.stdout if in_notebook() else sys.stderr  # notebooks show stderr as an error
                tee = _Tee(log, MetricReader(spec.metric_definitions), self._record_metrics, screen)
                exit_code = self._run_watched(tee, watch)
                tee.end()
            if watch.ending is not None:
                writer.enter_stopping(watch.ending)
            writer.finish(exit_code, watch.ending)
        except KeyboardInterrupt:
            writer.enter(SecondaryStatus.STOPPING, "interrupted", JobStatus.STOPPING)
            writer.enter(SecondaryStatus.STOPPED, "stopped by Ctrl-C", JobStatus.STOPPED, ends=True)
            raise
        except Exception as error:
            writer.fail(f"the job couldn't be run: {error}")
            raise

    def _run_watched(self, tee: _Tee, watch: _Watch) -> int:
        try:
            with _job_surroundings(tee, self._folder, self._spec), watch:
                return self._execute()
        except KeyboardInterrupt:
            if watch.ending is None:
                raise
            return _EXIT_CODE_STOPPED

    def _execute(self) -> int:
        code = self._folder.base / "code"
        if self._source is None:
            write_own_modules(self._spec.modules, code)
            return run.run(os.environ)
        self._source.write_to(code)
        try:
            with _script_surroundings(code, job_arguments(self._spec)):
                runpy.run_path(str(code / ENTRY), run_name="__main__")
        except SystemExit as error:
            if error.code is None or isinstance(error.code, int):
                return error.code or 0
            sys.stderr.write(f"{error.code}\n")
            return 1
        except Exception:  # noqa: BLE001 - the interpreter does the same at the end of a script
            traceback.print_exc()
            return 1
        return 0

    def _record_metrics(self, records: Sequence[Mapping[str, float]]) -> None:
        self._writer.record_metrics(records)
        self._writer.save_if_due()


class _Tee(io.TextIOBase):
    """Replaces stdout and stderr: writes to the job's log and to the terminal, and reports metrics.

    The lines that only programs read are left out on the terminal.
    """

    def __init__(
        self,
        log: BoundedLog,
        reader: MetricReader,
        record: Callable[[Sequence[Mapping[str, float]]], None],
        terminal: TextIO,
    ) -> None:
        self._log = log
        self._reader = reader
        self._record = record
        self._terminal = terminal
        self._mutex = threading.Lock()
        self._is_hidden, self._is_new_line = False, True

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
        if found:
            self._record(found)
        if shown := self._for_people(text):
            self._terminal.write(shown)
        return len(text)

    def flush(self) -> None:
        self._terminal.flush()

    def _for_people(self, text: str) -> str:
        """The text without metric lines; one of them may come in several pieces."""
        shown = []
        for line in text.splitlines(keepends=True):
            if self._is_new_line:
                self._is_hidden = line.startswith(MARKER)
            self._is_new_line = line.endswith("\n")
            if not self._is_hidden:
                shown.append(line)
        return "".join(shown)

    def end(self) -> None:
        """Record the metrics of a last line without a newline."""
        if found := self._reader.end():
            self._record(found)


class _Watch:
    """Interrupts the main thread at a stop request or at the time limit; `ending` is the reason then."""

    def __init__(self, folder: JobFolder, max_seconds: float) -> None:
        self.ending: Ending | None = None
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
        if self.ending is not None and ignored[0] is None:
            time.sleep(2 * _WATCH_SECONDS)  # the interrupt is pending: receive it here, not in the caller's code
        self._thread.join()

    def _watch(self) -> None:
        until = time.monotonic() + self._max_seconds
        while not self._over.wait(_WATCH_SECONDS):
            ending = Ending.MAX_RUNTIME if time.monotonic() >= until else None
            if self._folder.stop_file.exists():
                ending = Ending.STOP
            with self._mutex:
                if ending is not None and not self._over.is_set():
                    self.ending = ending
                    _interrupt_main_thread()
                    return


def _interrupt_main_thread() -> None:
    main = threading.main_thread().ident
    if hasattr(signal, "pthread_kill") and main is not None:
        signal.pthread_kill(main, signal.SIGINT)  # wakes it from a sleep as well
    else:
        signal.raise_signal(signal.SIGINT)


@contextlib.contextmanager
def _job_surroundings(tee: _Tee, folder: JobFolder, spec: JobSpec) -> Iterator[None]:
    """Set the job's environment, output and logging during the block; SIGINT raises KeyboardInterrupt."""
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
def _script_surroundings(code: Path, arguments: list[str]) -> Iterator[None]:
    """Set a script's arguments, folder and module path during the block; unload its modules afterwards."""
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
    own = job_environment(folder, spec, cores=available_cores(), gpus=(), outer={})
    return {name: value for name, value in own.items() if not name.endswith("_NUM_THREADS")}
