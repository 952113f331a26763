"""The small process that looks after one job: `python -m breedclf.backends.local.supervisor JOB_FOLDER`."""

from __future__ import annotations

import errno
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

from breedclf.backends.common.archive import archive_folder
from breedclf.backends.common.container import ENTRY, clear_for_restart, job_arguments, job_environment, make_tree
from breedclf.backends.common.failure import failure_reason
from breedclf.backends.common.folder import JobFolder, ProcessValues
from breedclf.backends.local.child import Child, Command, SpawnedChild
from breedclf.backends.local.locks import try_lock
from breedclf.backends.local.log import BoundedLog, MetricReader
from breedclf.backends.local.processes import MARK, Identity, ask_to_end, kill_job
from breedclf.backends.local.slots import SlotPool, Slots
from breedclf.jobs import JobStatus, SecondaryStatus
from breedclf.jobs.handle import Clock

_TICK_SECONDS = 0.05
_STATE_SECONDS = 0.25
_DRAIN_SECONDS = 0.5
_PART_BYTES = 64 << 10
_MAX_METRIC_EVENTS = 100_000
_RESERVE_BYTES = 64 << 10


class Ending(Enum):
    """Why a supervisor ends a job's process."""

    STOP = "stop"
    MAX_RUNTIME = "max runtime"
    INTERRUPTION = "spot interruption"


@dataclass(frozen=True)
class Outcome:
    """How a job's process ended: by itself (`ending` is None) or because the supervisor ended it."""

    exit_code: int
    ending: Ending | None


class Supervisor:
    """Runs one job from its folder to its end; the only writer of the job's state while it holds the folder's lock."""

    def __init__(self, folder: JobFolder, *, outer: Mapping[str, str], clock: Clock = time) -> None:
        self.folder = folder
        self._outer = outer
        self._clock = clock
        self._state = folder.read()
        self._stop_signalled = False
        self._trained_seconds = 0.0
        self._metric_events = 0
        self._state_due = False
        self._state_written = clock.monotonic()

    def run(self) -> None:
        """Look after the job until it has ended; whatever goes wrong ends in Failed with a reason."""
        if self._state.description.status.is_final:
            return
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        reserve = self.folder.path / ".reserve"
        try:
            self._save(supervisor=Identity.of(os.getpid()).to_dict())
            reserve.write_bytes(b"\0" * _RESERVE_BYTES)
            self._supervise()
        except Exception as error:  # noqa: BLE001 - the job must not stay InProgress for ever
            traceback.print_exc()
            with suppress(OSError):
                reserve.unlink()  # room to tell, if the disk is full
            self._kill_all()
            self._fail(_reason_of(error, self.folder.path))
        finally:
            with suppress(OSError):
                reserve.unlink()

    def _supervise(self) -> None:
        slots = self._wait_for_slots()
        if slots is None:
            self._enter(SecondaryStatus.STOPPING, "asked to stop while waiting", status=JobStatus.STOPPING)
            self._enter(SecondaryStatus.STOPPED, "stopped before it began", status=JobStatus.STOPPED, ends=True)
            return
        try:
            outcome = self._train(slots)
            while outcome.ending is Ending.INTERRUPTION:
                self._enter(SecondaryStatus.RESTARTING, "started again; the checkpoints are kept")
                clear_for_restart(self.folder)
                outcome = self._train(slots)
        finally:
            slots.release()
        self._finish(outcome)

    def _wait_for_slots(self) -> Slots | None:
        options = self._state.options
        pool = SlotPool(Path(options["home"]), cores=options["total_cores"], gpus=options["total_gpus"])
        ticket = pool.queue(self.folder.name)
        waiting = False
        pause = 0.02
        try:
            while not self._asked_to_stop():
                slots = pool.take(ticket, options["cores"], options["gpus"])
                if slots is not None:
                    return slots
                if not waiting:
                    waiting = True
                    wanted = f"{options['cores']} core(s) and {options['gpus']} GPU(s)"
                    self._enter(SecondaryStatus.PENDING, f"waiting for {wanted} to become free")
                self._clock.sleep(pause)
                pause = min(0.3, pause * 1.3)
            return None
        finally:
            ticket.give_up()

    def _train(self, slots: Slots) -> Outcome:
        """Start the job's process and stay with it until it and everything it started is gone."""
        self._enter(SecondaryStatus.DOWNLOADING, "linking the input")
        child = self._start(slots)
        try:
            self._enter(
                SecondaryStatus.TRAINING,
                f"running on core(s) {','.join(slots.cores)}"
                + (f", GPU(s) {','.join(slots.gpus)}" if slots.gpus else ""),
                started=self._state.description.started or self._clock.time(),
                process=Identity.of(child.pid).to_dict(),
            )
            spec = self._state.spec
            with BoundedLog(self.folder.log_file, max_bytes=self._state.options["max_log_bytes"]) as log:
                reader = MetricReader(spec.metric_definitions)
                outcome = self._watch(child, log, reader)
                self._note_metrics(reader.end())
        except BaseException:
            self._kill_all()
            child.poll()
            raise
        finally:
            child.close()
        self._kill_all()
        return outcome

    def _start(self, slots: Slots) -> Child:
        folder, spec, options = self.folder, self._state.spec, self._state.options
        bundle = Path(options["bundle"])
        make_tree(folder, spec, bundle / "sourcedir.tar.gz")
        code = folder.base / "code"
        code.mkdir(exist_ok=True)
        for path in (bundle / "code").iterdir():
            if not (code / path.name).is_symlink():
                (code / path.name).symlink_to(path)
        environment = job_environment(folder, spec, cores=len(slots.cores), gpus=slots.gpus, outer=self._outer)
        environment |= {MARK: str(folder.path), "BREEDCLF_CORES": ",".join(slots.cores)}
        command = Command(
            options["python"], str(code / ENTRY), job_arguments(spec), code, environment, slots.descriptors
        )
        if options["preload"]:
            from breedclf.backends.local.forkserver import ForkserverError, forked_child

            try:
                return forked_child(Path(options["home"]), command)
            except ForkserverError:
                traceback.print_exc()  # slower, but it runs
        return SpawnedChild(command)

    def _watch(self, child: Child, log: BoundedLog, reader: MetricReader) -> Outcome:
        os.set_blocking(child.log, False)
        last = self._clock.monotonic()
        grace = self._state.options["stop_grace_seconds"]
        ending: Ending | None = None
        kill_at: float | None = None
        open_log = True
        while True:
            if open_log:
                open_log = self._read(child.log, log, reader, _TICK_SECONDS)
            else:
                self._clock.sleep(_TICK_SECONDS)
            now = self._clock.monotonic()
            self._trained_seconds += max(0.0, now - last)
            last = now
            self._save_if_due()
            exit_code = child.poll()
            if exit_code is not None:
                break
            if ending is None and (ending := self._reason_to_end()) is not None:
                self._announce(ending)
                ask_to_end(child.pid)
                kill_at = now + grace
            if kill_at is not None and now >= kill_at:
                self._kill_all()
        until = self._clock.monotonic() + _DRAIN_SECONDS
        while open_log and self._clock.monotonic() < until:
            open_log = self._read(child.log, log, reader, _TICK_SECONDS)
        if open_log:  # a process that the job left behind still holds the log
            self._kill_all()
            while self._read(child.log, log, reader, 0.0, only_if_ready=True):
                pass
        return Outcome(exit_code, ending)

    def _read(
        self, descriptor: int, log: BoundedLog, reader: MetricReader, seconds: float, *, only_if_ready: bool = False
    ) -> bool:
        """Read what is there, waiting a moment for it; False once the log has ended."""
        ready, _, _ = select.select([descriptor], [], [], seconds)
        if not ready:
            return not only_if_ready
        try:
            part = os.read(descriptor, _PART_BYTES)
        except BlockingIOError:
            return True
        if not part:
            return False
        log.write(part)
        self._note_metrics(reader.feed(part))
        return True

    def _reason_to_end(self) -> Ending | None:
        if self._asked_to_stop():
            return Ending.STOP
        if self._trained_seconds >= self._state.spec.max_runtime_seconds:
            return Ending.MAX_RUNTIME
        if self.folder.interrupt_file.exists():
            self.folder.interrupt_file.unlink()
            return Ending.INTERRUPTION
        return None

    def _announce(self, ending: Ending) -> None:
        if ending is Ending.INTERRUPTION:
            self._enter(SecondaryStatus.INTERRUPTED, "a spot interruption was asked for")
        elif ending is Ending.MAX_RUNTIME:
            limit = self._state.spec.max_runtime_seconds
            self._enter(SecondaryStatus.STOPPING, f"it ran longer than {limit:g} seconds", status=JobStatus.STOPPING)
        else:
            self._enter(SecondaryStatus.STOPPING, "asked to stop", status=JobStatus.STOPPING)

    def _finish(self, outcome: Outcome) -> None:
        self._enter(SecondaryStatus.UPLOADING, "packing what the job wrote")
        self.folder.archives.mkdir(exist_ok=True)
        archive_folder(self.folder.model, self.folder.archives / "model.tar.gz")
        archive_folder(self.folder.output_data, self.folder.archives / "output.tar.gz")
        if outcome.ending is Ending.MAX_RUNTIME:
            self._enter(SecondaryStatus.MAX_RUNTIME_EXCEEDED, "stopped at its time limit", JobStatus.STOPPED, ends=True)
        elif outcome.ending is Ending.STOP:
            self._enter(SecondaryStatus.STOPPED, "stopped as asked", JobStatus.STOPPED, ends=True)
        elif outcome.exit_code == 0:
            self._enter(SecondaryStatus.COMPLETED, "done", JobStatus.COMPLETED, ends=True)
        else:
            self._fail(failure_reason(self.folder, outcome.exit_code))

    def _fail(self, reason: str) -> None:
        self._enter(SecondaryStatus.FAILED, "failed", JobStatus.FAILED, ends=True, failure_reason=reason)

    def _enter(
        self,
        secondary: SecondaryStatus,
        message: str,
        status: JobStatus | None = None,
        *,
        ends: bool = False,
        process: ProcessValues | None = None,
        **changes: object,
    ) -> None:
        now = self._clock.time()
        if ends:
            changes["ended"] = now
        self._state = replace(
            self._state,
            description=self._state.description.entered(secondary, now, message, status=status, **changes),
            process=self._state.process if process is None else process,
        )
        self._save()
        with suppress(OSError):  # the state is what counts
            self.folder.add_event("status", now, status=secondary, message=message)

    def _note_metrics(self, found: Sequence[Mapping[str, float]]) -> None:
        for values in found:
            description = self._state.description
            metrics = {**description.metrics, **values}
            self._state = replace(self._state, description=replace(description, metrics=metrics))
            self._state_due = True
            if self._metric_events < _MAX_METRIC_EVENTS:
                self._metric_events += 1
                self.folder.add_event("metrics", self._clock.time(), values=dict(values))

    def _save_if_due(self) -> None:
        if self._state_due and self._clock.monotonic() - self._state_written >= _STATE_SECONDS:
            self._save()

    def _save(self, supervisor: ProcessValues | None = None) -> None:
        if supervisor is not None:
            self._state = replace(self._state, supervisor=supervisor)
        self.folder.write(self._state)
        self._state_due = False
        self._state_written = self._clock.monotonic()

    def _asked_to_stop(self) -> bool:
        return self._stop_signalled or self.folder.stop_file.exists()

    def _on_signal(self, number: int, frame: object) -> None:  # noqa: ARG002
        self._stop_signalled = True

    def _kill_all(self) -> None:
        process = self._state.process
        kill_job(None if process is None else Identity.from_dict(process), str(self.folder.path))


def main(path: str) -> None:
    """Detach from whoever started us, then supervise the job in this folder."""
    if os.fork():
        os._exit(0)
    os.setsid()
    folder = JobFolder(Path(path))
    until = time.monotonic() + 10
    while (lock := try_lock(folder.lock_file)) is None:  # somebody looks whether it is held, for an instant
        if time.monotonic() > until:
            sys.exit(f"job {folder.name} already has a supervisor")
        time.sleep(0.01)
    try:
        Supervisor(folder, outer=os.environ).run()
    finally:
        os.close(lock)


def _reason_of(error: Exception, folder: Path) -> str:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"no space left on the disk of {folder}; free some, or choose another place with BREEDCLF_HOME"
    return f"the job couldn't be supervised: {error}"


if __name__ == "__main__":
    main(sys.argv[1])
