"""`python -m breedclf.backends.local.supervisor JOB_FOLDER`: the small process that runs one job to its end."""

from __future__ import annotations

import errno
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from breedclf.backends.common.container import ENTRY, clear_for_restart, job_arguments, job_environment, make_tree
from breedclf.backends.common.folder import JobFolder
from breedclf.backends.common.job_log import BoundedLog, MetricReader
from breedclf.backends.common.job_writer import Ending, JobWriter
from breedclf.backends.common.locks import try_lock
from breedclf.backends.common.processes import MARK, Identity, kill_job, terminate_group
from breedclf.backends.local.child import Child, Command, SpawnedChild
from breedclf.backends.local.slots import SlotPool, Slots
from breedclf.jobs import JobStatus, SecondaryStatus
from breedclf.jobs.waiting import SYSTEM_CLOCK, Clock

_TICK_SECONDS = 0.05
_SAVE_SECONDS = 0.25
_DRAIN_SECONDS = 0.5
_PART_BYTES = 64 << 10
_RESERVE_BYTES = 64 << 10


@dataclass(frozen=True)
class Outcome:
    """How a job's process ended: by itself (`ending` is None) or because the supervisor ended it."""

    exit_code: int
    ending: Ending | None


class Supervisor:
    """Runs one job from its folder to its end; the caller holds the folder's lock."""

    def __init__(self, folder: JobFolder, *, outer: Mapping[str, str], clock: Clock = SYSTEM_CLOCK) -> None:
        self.folder = folder
        self._outer = outer
        self._clock = clock
        self._writer = JobWriter(folder, folder.read(), clock, save_seconds=_SAVE_SECONDS)
        self._spec = self._writer.state.spec
        self._options = self._writer.state.options
        self._stop_signalled = False
        self._trained_seconds = 0.0

    def run(self) -> None:
        """Run the job to its end; any error here makes it Failed with a reason."""
        writer = self._writer
        if writer.state.description.status.is_final:
            return
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        reserve = self.folder.path / ".reserve"
        try:
            writer.state = replace(writer.state, supervisor=Identity.of(os.getpid()).to_dict())
            writer.save()
            reserve.write_bytes(b"\0" * _RESERVE_BYTES)
            self._supervise()
        except Exception as error:  # noqa: BLE001 - the job must not remain InProgress forever
            traceback.print_exc()
            with suppress(OSError):
                reserve.unlink()  # on a full disk, make room for the state
            self._kill_all()
            writer.fail(_reason_of(error, self.folder.path))
        finally:
            with suppress(OSError):
                reserve.unlink()

    def _supervise(self) -> None:
        slots = self._wait_for_slots()
        if slots is None:
            self._writer.enter(SecondaryStatus.STOPPING, "stop requested while waiting", JobStatus.STOPPING)
            self._writer.enter(SecondaryStatus.STOPPED, "stopped before it started", JobStatus.STOPPED, ends=True)
            return
        try:
            outcome = self._train(slots)
            while outcome.ending is Ending.INTERRUPTION:
                self._writer.enter(SecondaryStatus.RESTARTING, "restarting with its checkpoints")
                clear_for_restart(self.folder)
                outcome = self._train(slots)
        finally:
            slots.release()
        self._writer.finish(outcome.exit_code, outcome.ending)

    def _wait_for_slots(self) -> Slots | None:
        options = self._options
        pool = SlotPool(Path(options["home"]), cores=options["total_cores"], gpus=options["total_gpus"])
        ticket = pool.queue(self.folder.name)
        waiting = False
        pause = 0.02
        try:
            while not self._is_stop_requested():
                slots = pool.take(ticket, options["cores"], options["gpus"])
                if slots is not None:
                    return slots
                if not waiting:
                    waiting = True
                    needed = f"{options['cores']} core(s) and {options['gpus']} GPU(s)"
                    self._writer.enter(SecondaryStatus.PENDING, f"waiting for {needed}")
                self._clock.sleep(pause)
                pause = min(0.3, pause * 1.3)
            return None
        finally:
            ticket.give_up()

    def _train(self, slots: Slots) -> Outcome:
        """Run the job's process until it and everything it started has ended."""
        writer = self._writer
        writer.enter(SecondaryStatus.DOWNLOADING, "linking the inputs")
        child = self._start(slots)
        try:
            writer.enter(
                SecondaryStatus.TRAINING,
                f"running on core(s) {','.join(slots.cores)}"
                + (f", GPU(s) {','.join(slots.gpus)}" if slots.gpus else ""),
                started=writer.state.description.started or self._clock.time(),
                process=Identity.of(child.pid).to_dict(),
            )
            with BoundedLog(self.folder.log_file, max_bytes=self._options["max_log_bytes"]) as log:
                reader = MetricReader(self._spec.metric_definitions)
                outcome = self._watch(child, log, reader)
                writer.record_metrics(reader.end())
        except BaseException:
            self._kill_all()
            child.poll()
            raise
        finally:
            child.close()
        self._kill_all()
        return outcome

    def _start(self, slots: Slots) -> Child:
        folder, spec, options = self.folder, self._spec, self._options
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
            from breedclf.backends.local.forkserver_client import ForkserverError, forked_child

            try:
                return forked_child(command)
            except ForkserverError:
                traceback.print_exc()  # start it without the fork server
        return SpawnedChild(command)

    def _watch(self, child: Child, log: BoundedLog, reader: MetricReader) -> Outcome:
        os.set_blocking(child.log, False)
        last = self._clock.monotonic()
        grace = self._options["stop_grace_seconds"]
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
            self._writer.save_if_due()
            exit_code = child.poll()
            if exit_code is not None:
                break
            if ending is None and (ending := self._reason_to_end()) is not None:
                self._writer.enter_stopping(ending)
                terminate_group(child.pid)
                kill_at = now + grace
            if kill_at is not None and now >= kill_at:
                self._kill_all()
        until = self._clock.monotonic() + _DRAIN_SECONDS
        while open_log and self._clock.monotonic() < until:
            open_log = self._read(child.log, log, reader, _TICK_SECONDS)
        if open_log:  # a process that outlived the job still holds the log
            self._kill_all()
            while self._read(child.log, log, reader, 0.0, only_if_ready=True):
                pass
        return Outcome(exit_code, ending)

    def _read(
        self, descriptor: int, log: BoundedLog, reader: MetricReader, seconds: float, *, only_if_ready: bool = False
    ) -> bool:
        """Read the available output, waiting up to `seconds` for it; False at its end."""
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
        self._writer.record_metrics(reader.feed(part))
        return True

    def _reason_to_end(self) -> Ending | None:
        if self._is_stop_requested():
            return Ending.STOP
        if self._trained_seconds >= self._spec.max_runtime_seconds:
            return Ending.MAX_RUNTIME
        if self.folder.interrupt_file.exists():
            self.folder.interrupt_file.unlink()
            return Ending.INTERRUPTION
        return None

    def _is_stop_requested(self) -> bool:
        return self._stop_signalled or self.folder.stop_file.exists()

    def _on_signal(self, number: int, frame: object) -> None:  # noqa: ARG002
        self._stop_signalled = True

    def _kill_all(self) -> None:
        process = self._writer.state.process
        kill_job(None if process is None else Identity.from_dict(process), str(self.folder.path))


def main(path: str) -> None:
    """Detach from the starting process, then run the job of this folder."""
    if os.fork():
        os._exit(0)
    os.setsid()
    folder = JobFolder(Path(path))
    until = time.monotonic() + 10
    while (lock := try_lock(folder.lock_file)) is None:  # `is_locked` of another process holds it for an instant
        if time.monotonic() > until:
            sys.exit(f"job {folder.name} already has a supervisor")
        time.sleep(0.01)
    try:
        Supervisor(folder, outer=os.environ).run()
    finally:
        os.close(lock)


def _reason_of(error: Exception, folder: Path) -> str:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"no space left on the disk of {folder}; free some, or select another folder with BREEDCLF_HOME"
    return f"the supervisor failed: {error}"


if __name__ == "__main__":
    main(sys.argv[1])
