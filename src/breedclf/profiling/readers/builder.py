"""Collects steps and samples in any order, from any clock, and builds the columns of a profile."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from breedclf.profiling.profile import Series, SeriesKind, Steps


@dataclass
class Recorded:
    """Collects what readers find, with times in seconds since 1970."""

    steps: list[tuple[float, float, str, str]] = field(default_factory=list)  # start, duration, phase, node
    samples: dict[tuple[str, SeriesKind, str], list[tuple[float, float]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    operators: list[dict[str, Any]] = field(default_factory=list)  # events in torch.profiler's format
    skipped: Counter[tuple[str, str]] = field(default_factory=Counter)  # unsupported events by (kind of file, event)
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def bounds(self) -> tuple[float, float] | None:
        """The earliest and the latest time of any record; None if there is none."""
        times = [start for start, *_ in self.steps] + [start + length for start, length, *_ in self.steps]
        times += [time for pairs in self.samples.values() for time, _ in pairs]
        dated = [event for event in self.operators if event.get("dated")]
        for event in dated if times or dated else self.operators:  # undated operators count only without other times
            times += [event["ts"] / 1e6, (event["ts"] + event["dur"]) / 1e6]
        return (min(times), max(times)) if times else None

    def steps_since(self, origin: float) -> Steps:
        """Steps sorted by start; those with a negative duration (the clock went back) are skipped."""
        good = sorted(step for step in self.steps if step[1] >= 0)
        if len(good) < len(self.steps):
            self.note(
                f"{len(self.steps) - len(good)} steps end before they start (the clock went back) and were skipped"
            )
        phases = tuple(dict.fromkeys(phase for *_, phase, _ in good))
        nodes = tuple(dict.fromkeys(node for *_, node in good))
        return Steps(
            phases=phases,
            nodes=nodes,
            start=np.array([start - origin for start, *_ in good], dtype=float),
            duration=np.array([duration for _, duration, *_ in good], dtype=float),
            phase=np.array([phases.index(phase) for *_, phase, _ in good], dtype=np.int64),
            node=np.array([nodes.index(node) for *_, node in good], dtype=np.int64),
            epoch=np.zeros(len(good), dtype=np.int64),
            images=np.zeros(len(good), dtype=np.int64),
            traced=np.zeros(len(good), dtype=np.int64),
        )

    def series_since(self, origin: float) -> tuple[Series, ...]:
        """Samples sorted by time."""
        series_list = []
        for (node, kind, name), pairs in sorted(self.samples.items()):
            if any(later[0] < earlier[0] for earlier, later in pairwise(pairs)):
                self.note(
                    f"samples of {name} on {node} were out of order (interleaved writers, or the clock went back)"
                )
            pairs = sorted(pairs)
            time, value = np.array(pairs, dtype=float).T
            series_list.append(Series(node=node, kind=kind, name=name, time=time - origin, value=value))
        return tuple(series_list)
