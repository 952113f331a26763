"""Differences between two profiles: times, shares, operators, findings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict

from breedclf.profiling.profile import Profile
from breedclf.profiling.report.summary import parts_of
from breedclf.profiling.rules import Finding, check

MOST_OPERATORS = 10


class Change(BaseModel):
    """One quantity in both profiles; `ratio` is `after` / `before`."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True)

    what: str
    unit: str
    before: float | None
    after: float | None

    @property
    def ratio(self) -> float | None:
        return self.after / self.before if self.before and self.after is not None else None


class Difference(BaseModel):
    """All differences between two runs."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True)

    changes: tuple[Change, ...]
    new_issues: tuple[str, ...]
    gone_issues: tuple[str, ...]
    settings: dict[str, tuple[object, object]]


def compare(before: Profile, after: Profile) -> Difference:
    """Compare two runs; quantities that neither has are omitted.

    Example:
        >>> from breedclf.profiling.profile import JobInfo
        >>> a, b = (Profile(job=JobInfo(name=n, start=0.0, end=s)) for n, s in (("a", 10.0), ("b", 5.0)))
        >>> compare(a, b).changes[0].ratio
        0.5
    """
    changes = [Change(what="duration", unit="s", before=before.job.seconds, after=after.job.seconds)]
    for phase in dict.fromkeys((*before.steps.phases, *after.steps.phases)):
        changes.append(
            Change(what=f"mean {phase} step", unit="s", before=_mean(before, phase), after=_mean(after, phase))
        )
        first, second = ({part.name: part.share for part in parts_of(p, phase)} for p in (before, after))
        for name in dict.fromkeys((*first, *second)):
            changes.append(
                Change(what=f"share of {phase} steps: {name}", unit="", before=first.get(name), after=second.get(name))
            )
    changes += _operators(before, after)
    issues = [_issues(check(profile)) for profile in (before, after)]
    keys = dict.fromkeys((*before.job.settings, *after.job.settings))
    pairs = {key: (before.job.settings.get(key), after.job.settings.get(key)) for key in keys}
    return Difference(
        changes=tuple(change for change in changes if (change.before, change.after) != (None, None)),
        new_issues=tuple(rule for rule in issues[1] if rule not in issues[0]),
        gone_issues=tuple(rule for rule in issues[0] if rule not in issues[1]),
        settings={key: pair for key, pair in pairs.items() if pair[0] != pair[1]},
    )


def as_text(difference: Difference) -> str:
    """Format the differences as lines for a terminal."""
    lines = []
    for change in difference.changes:
        ratio = "" if change.ratio is None else f"  ({change.ratio:.2f}x)"
        lines.append(f"{change.what}: {_shown(change.before)} -> {_shown(change.after)} {change.unit}{ratio}".rstrip())
    lines += [f"setting {name}: {pair[0]} -> {pair[1]}" for name, pair in difference.settings.items()]
    lines += [f"new issue: {rule}" for rule in difference.new_issues]
    lines += [f"no longer an issue: {rule}" for rule in difference.gone_issues]
    return "\n".join(lines)


def _operators(before: Profile, after: Profile) -> list[Change]:
    first, second = ({op.name: op.self_seconds / max(1, op.calls) for op in p.operators} for p in (before, after))
    common = sorted(first.keys() & second.keys(), key=lambda name: -abs(first[name] - second[name]))
    return [
        Change(what=f"self time per call of {name}", unit="s", before=first[name], after=second[name])
        for name in common[:MOST_OPERATORS]
    ]


def _mean(profile: Profile, phase: str) -> float | None:
    durations = profile.steps.duration[profile.steps.of(phase) & profile.steps.steady]
    return float(np.mean(durations)) if len(durations) else None


def _issues(findings: Sequence[Finding]) -> list[str]:
    return [f.rule for f in findings if f.status == "issue" and f.rule != "ProfilerReport"]


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"
