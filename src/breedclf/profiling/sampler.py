"""Samples machine usage in a thread: cores, memory, disks, network, GPUs and the processes of the run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from breedclf.profiling.profile import Series, SeriesKind

INTERVAL_SECONDS = 0.5
MOST_SAMPLES = 7_200  # one hour at 0.5 s; then every second sample is dropped and the interval doubles


class Sampler:
    """Takes a sample every `interval` seconds until stopped; a metric that can't be read is omitted and noted.

    `seconds` is the total time spent sampling, in the sampler's thread.
    """

    def __init__(
        self,
        *,
        node: str = "local",
        interval: float = INTERVAL_SECONDS,
        most_samples: int = MOST_SAMPLES,
        system: Any = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.node = node
        self.interval: float = interval
        self.samples: int = 0
        self.seconds: float = 0.0
        self.notes: list[str] = []
        self._most = most_samples
        self._system = system if system is not None else _psutil()
        self._clock = clock
        self._times: dict[tuple[SeriesKind, str], list[float]] = {}
        self._values: dict[tuple[SeriesKind, str], list[float]] = {}
        self._last: dict[str, tuple[float, float]] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._gpus = _Gpus()
        self._process: Any = None

    def start(self) -> None:
        if self._thread is not None:
            return
        self._sample()  # rates are relative to the first reading
        self._thread = threading.Thread(target=self._run, name="breedclf-sampler", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=5)
        if self.samples:
            self._sample()

    def series(self, origin: float) -> tuple[Series, ...]:
        """All samples so far, with times relative to `origin` on the sampler's clock."""
        with self._lock:
            return tuple(
                Series(
                    node=self.node,
                    kind=kind,
                    name=name,
                    time=np.array(self._times[kind, name]) - origin,
                    value=np.array(self._values[kind, name]),
                )
                for kind, name in self._times
            )

    def _run(self) -> None:
        while not self._stop.wait(self.interval):
            self._sample()

    def _sample(self) -> None:
        started = self._clock()
        for read in (self._cpu, self._memory, self._disks, self._network, self._processes, self._read_gpus):
            try:
                read(started)
            except Exception as error:  # noqa: BLE001  # containers may forbid access; the run must continue
                self._note(f"{read.__name__.strip('_').replace('_', ' ')} can't be sampled here: {error!r}")
        self.samples += 1
        if self.samples >= self._most:
            self._thin()
        self.seconds += self._clock() - started

    def _cpu(self, now: float) -> None:
        percents, times = self._system.cpu_percent(percpu=True), self._system.cpu_times_percent()
        if not self._times:  # psutil's first answer covers no interval and is always zero
            return
        for number, value in enumerate(percents):
            self._add("cpu", f"cpu{number}", now, value)
        if hasattr(times, "iowait"):
            self._add("io_wait", "io_wait", now, times.iowait)

    def _memory(self, now: float) -> None:
        self._add("memory", "memory", now, self._system.virtual_memory().percent)

    def _disks(self, now: float) -> None:
        counters = self._system.disk_io_counters()
        if counters is not None:
            self._rate("disk_read", "disks", now, counters.read_bytes)
            self._rate("disk_write", "disks", now, counters.write_bytes)

    def _network(self, now: float) -> None:
        counters = self._system.net_io_counters()
        if counters is not None:
            self._rate("network", "network", now, counters.bytes_sent + counters.bytes_recv)

    def _processes(self, now: float) -> None:
        if self._process is None:
            self._process = self._system.Process()
        memory = self._process.memory_info().rss
        children = self._process.children(recursive=True)
        for child in children:
            try:
                memory += child.memory_info().rss
            except Exception as error:  # it ended after it was listed
                if type(error).__name__ not in ("NoSuchProcess", "ZombieProcess"):
                    raise
        self._add("process_memory", "process", now, memory)
        self._add("loader_workers", "children", now, len(children))

    def _read_gpus(self, now: float) -> None:
        for name, use, memory in self._gpus.read():
            self._add("gpu", name, now, use)
            self._add("gpu_memory", name, now, memory)

    def _rate(self, kind: SeriesKind, name: str, now: float, counter: float) -> None:
        before = self._last.get(kind)
        self._last[kind] = (now, counter)
        if before is not None and now > before[0]:
            self._add(kind, name, now, max(0.0, (counter - before[1]) / (now - before[0])))

    def _add(self, kind: SeriesKind, name: str, now: float, value: float) -> None:
        with self._lock:
            self._times.setdefault((kind, name), []).append(now)
            self._values.setdefault((kind, name), []).append(float(value))

    def _thin(self) -> None:
        with self._lock:
            for columns in (self._times, self._values):
                for column in columns.values():
                    del column[::2]
        self.samples //= 2
        self.interval *= 2

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


def _psutil() -> Any:
    """The psutil module, or an object without attributes if it isn't installed: job containers may lack it."""
    try:
        import psutil
    except ImportError:
        return object()
    return psutil


class _Gpus:
    """NVIDIA GPUs, read with NVML; none if its Python binding isn't installed or finds no GPU."""

    def __init__(self) -> None:
        self._nvml: Any = None
        try:
            import pynvml

            pynvml.nvmlInit()
        except (ImportError, OSError, RuntimeError):
            return
        except Exception as error:  # NVML's errors derive from Exception directly
            if type(error).__module__ != "pynvml":
                raise
            return
        self._nvml = pynvml

    def read(self) -> list[tuple[str, float, float]]:
        """(name, % busy, % of memory used) for each GPU."""
        if self._nvml is None:
            return []
        found = []
        for index in range(self._nvml.nvmlDeviceGetCount()):
            handle = self._nvml.nvmlDeviceGetHandleByIndex(index)
            memory = self._nvml.nvmlDeviceGetMemoryInfo(handle)
            use = self._nvml.nvmlDeviceGetUtilizationRates(handle).gpu
            found.append((f"gpu{index}", float(use), 100.0 * memory.used / memory.total))
        return found
