"""The report on one run as an HTML page: the verdict first, then everything it rests on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from markupsafe import Markup

from breedclf.profiling.profile import Profile
from breedclf.profiling.report.machine_sections import operator_section, overhead_section, speed_section, usage_section
from breedclf.profiling.report.reported_sections import (
    counts_section,
    missing_section,
    phases_section,
    steps_section,
)
from breedclf.profiling.report.summary import flops_share, parts_of, phase_seconds
from breedclf.profiling.report.time_sections import (
    duration,
    framework_section,
    job_section,
    loop_section,
    outlier_section,
    timeline_section,
)
from breedclf.profiling.rules import ALL_RULES, Finding
from breedclf.profiling.rules.text import count, seconds, share
from breedclf.profiling.verified import Trial, Verification
from breedclf.reporting import Section, render_page
from breedclf.reporting.blocks import Column, Tile, bullets, callout, details, table, tiles
from breedclf.reporting.charts import bar_chart
from breedclf.reporting.charts.bars import Bar

_STATUS_WORDS = {
    "ok": "fine",
    "issue": "issue",
    "not_applicable": "does not apply",
    "no_data": "no data",
}
SUMMARY_RULE = "ProfilerReport"


def render_report(profile: Profile, findings: Sequence[Finding], verification: Verification | None = None) -> str:
    """Render the whole page; a pure function of what it is given.

    Example:
        >>> from breedclf.profiling.profile import JobInfo
        >>> from breedclf.profiling.rules import check
        >>> profile = Profile(job=JobInfo(name="demo", start=0.0, end=1.0))
        >>> "Profile of demo" in render_report(profile, check(profile))
        True
    """
    by_rule = {finding.rule: finding for finding in findings}
    middle = (
        _from_reports(profile, by_rule) if profile.job.source == "sagemaker report" else _from_data(profile, by_rule)
    )
    sections = [
        _verified_section(verification) if verification else None,
        job_section(profile),
        *middle,
        _rules_section(findings),
        overhead_section(profile),
    ]
    return render_page(
        f"Profile of {profile.job.name}",
        [section for section in sections if section is not None],
        subtitle=_subtitle(profile),
        summary=_verdict(profile, findings, verification),
    )


def _from_data(profile: Profile, by_rule: dict[str, Finding]) -> list[Section | None]:
    return [
        framework_section(profile),
        timeline_section(profile),
        usage_section(by_rule),
        loop_section(profile, by_rule),
        outlier_section(profile, by_rule),
        operator_section(profile),
        speed_section(profile),
        counts_section(profile),
    ]


def _from_reports(profile: Profile, by_rule: dict[str, Finding]) -> list[Section | None]:
    return [
        counts_section(profile),
        phases_section(profile),
        usage_section(by_rule),
        steps_section(profile),
        missing_section(profile),
    ]


def _subtitle(profile: Profile) -> str:
    if profile.job.source == "sagemaker report":
        return f"{duration(profile.job)}, from {count(len(profile.reported), 'rule report')} of SageMaker"
    return (
        f"{duration(profile.job)}, {count(len(profile.steps), 'step')}, {profile.job.status.lower()}, "
        f"recorded by {profile.job.source}"
    )


def _verdict(profile: Profile, findings: Sequence[Finding], verification: Verification | None) -> list[Markup | str]:
    issues = [finding for finding in findings if finding.status == "issue" and finding.rule != SUMMARY_RULE]
    blocks: list[Markup | str] = []
    if profile.job.status in ("Incomplete", "Failed", "Stopped"):
        word = {"Incomplete": "did not end in good order", "Failed": "failed", "Stopped": "was stopped"}
        blocks.append(
            callout("bad", f"The run {word[profile.job.status]}", "The figures cover what was recorded until then.")
        )
    if issues:
        blocks.append(
            callout(
                "issue", f"{count(len(issues), 'thing')} to look at", bullets([_told(finding) for finding in issues])
            )
        )
    elif any(finding.status == "ok" for finding in findings):
        blocks.append(callout("ok", "No issue was found", "Rules without data, or that don't apply, are listed below."))
    else:
        blocks.append(callout("info", "Nothing could be judged", "The profile holds too little data for any rule."))
    if verification and verification.recommended:
        changes = ", ".join(f"{name} = {value}" for name, value in verification.recommended.items())
        blocks.append(callout("ok", f"Measured to be faster: {changes}", verification.sentence))
    blocks.append(tiles(_tiles(profile, issues)))
    return blocks


def _told(finding: Finding) -> Markup:
    return Markup("<strong>{}</strong>: {}. <em>{}</em>").format(
        finding.rule, finding.evidence.rstrip("."), finding.advice
    )


def _tiles(profile: Profile, issues: Sequence[Finding]) -> list[Tile]:
    made = [
        Tile("Duration", duration(profile.job)),
        Tile("Issues", str(len(issues)), tone="issue" if issues else "ok"),
    ]
    steps = profile.steps
    if len(steps):
        by_phase = phase_seconds(profile)
        phase = max(by_phase, key=lambda name: by_phase[name])
        mask = steps.of(phase) & steps.steady
        if mask.any():
            made.append(
                Tile(f"Mean {phase} step", seconds(float(steps.duration[mask].mean())), f"{int(mask.sum()):,} steps")
            )
            pictures = float(steps.pictures[mask].sum())
            if pictures:
                made.append(Tile("Pace", f"{pictures / float(steps.duration[mask].sum()):,.1f} pictures/s", phase))
        parts = parts_of(profile, phase)
        if parts:
            most = max(parts, key=lambda part: part.seconds)
            made.append(Tile("Most time goes into", most.name, f"{share(most.share)} of {phase} steps"))
    reached = flops_share(profile)
    if reached is not None:
        made.append(Tile("Of the machine's speed", share(reached), "model FLOPs utilization"))
    return made


def _rules_section(findings: Sequence[Finding]) -> Section:
    """AWS's section 4: every rule, what it looks for, what it found, with which parameters."""
    order = {"issue": 0, "ok": 1, "no_data": 2, "not_applicable": 3}
    ranked = sorted(findings, key=lambda finding: order[finding.status])
    rows = [(_status(finding), _rule_cell(finding), _found_cell(finding)) for finding in ranked]
    figures = [
        (
            f.rule,
            f.times_triggered,
            f.violations,
            f.datapoints,
            ", ".join(f"{name} {value}" for name, value in f.parameters.items()),
        )
        for f in ranked
    ]
    heads: list[Column | str] = [
        "Rule",
        *(Column(name, True) for name in ("Times triggered", "Violations", "Datapoints")),
        "Parameters",
    ]
    differs = [
        Markup("<strong>{}</strong>: {}").format(finding.rule, ALL_RULES[finding.rule].differs)
        for finding in findings
        if finding.rule in ALL_RULES and ALL_RULES[finding.rule].differs
    ]
    blocks: list[Markup | str] = [table("Rules", ["Status", "Rule", "Found"], rows)]
    blocks.append(details("Counts and parameters", table("Figures of the rules", heads, figures)))
    if differs:
        blocks.append(details("Where a rule differs from SageMaker Debugger's of that name", bullets(differs)))
    return Section("Rules", blocks, lead="No data is no pass: such a rule could not look.")


def _rule_cell(finding: Finding) -> Markup:
    about = ALL_RULES[finding.rule].about if finding.rule in ALL_RULES else ""
    return Markup("<strong>{}</strong><br>{}").format(finding.rule, about)


def _found_cell(finding: Finding) -> Markup:
    advice = Markup("<br><em>{}</em>").format(finding.advice) if finding.advice else ""
    return Markup("{}{}").format(finding.evidence, advice)


def _status(finding: Finding) -> Markup:
    return Markup("<strong>{}</strong>").format(_STATUS_WORDS[finding.status])


def _verified_section(verification: Verification) -> Section:
    """Advice that was tried, with the spread of its repeats."""
    rows = [
        (
            trial.name,
            f"{trial.before:.2f} s ± {trial.before_spread:.2f}",
            f"{trial.after:.2f} s ± {trial.after_spread:.2f}",
            f"{trial.speedup:.2f}x",
            trial.repeats,
            _kept(trial),
            trial.note,
        )
        for trial in verification.trials
    ]
    heads: list[Column | str] = [
        "Change",
        *(Column(n, True) for n in ("Before", "After", "Speed-up", "Repeats")),
        "Kept",
        "Note",
    ]
    tried = [trial for trial in verification.trials if trial.after > 0]
    bars = [Bar("as it was", tried[0].before)] + [Bar(t.name, t.after) for t in tried] if tried else []
    return Section(
        "Advice, tried and measured",
        [
            verification.sentence,
            table("Trials", heads, rows, empty="No advice applied."),
            bar_chart("Seconds", bars, format=seconds),
        ],
        lead="Runs with and without each change took turns; ± is half the range between the quartiles.",
    )


def _kept(trial: Trial) -> Literal["kept", "not faster", "could not be tried"]:
    return "kept" if trial.kept else "not faster" if trial.after > 0 else "could not be tried"
