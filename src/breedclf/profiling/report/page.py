"""The HTML report about one run: a summary first, then the details."""

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
    "ok": "OK",
    "issue": "issue",
    "not_applicable": "not applicable",
    "no_data": "no data",
}
SUMMARY_RULE = "ProfilerReport"


def render_report(profile: Profile, findings: Sequence[Finding], verification: Verification | None = None) -> str:
    """Render the HTML report; a pure function of its arguments.

    Example:
        >>> from breedclf.profiling.profile import JobInfo
        >>> from breedclf.profiling.rules import check
        >>> profile = Profile(job=JobInfo(name="demo", start=0.0, end=1.0))
        >>> "Profile of demo" in render_report(profile, check(profile))
        True
    """
    return render_page(
        f"Profile of {profile.job.name}",
        report_sections(profile, findings, verification),
        subtitle=subtitle(profile),
        summary=summary_blocks(profile, findings, verification),
    )


def report_sections(
    profile: Profile, findings: Sequence[Finding], verification: Verification | None = None
) -> list[Section]:
    """The sections of the report, from what was verified to what the recording cost."""
    by_rule = {finding.rule: finding for finding in findings}
    data_sections = (
        _from_reports(profile, by_rule) if profile.job.source == "sagemaker report" else _from_data(profile, by_rule)
    )
    sections = [
        _verified_section(verification) if verification else None,
        job_section(profile),
        *data_sections,
        _rules_section(findings),
        overhead_section(profile),
    ]
    return [section for section in sections if section is not None]


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


def subtitle(profile: Profile) -> str:
    """How long the run took, and what recorded it, in one line."""
    if profile.job.source == "sagemaker report":
        return f"{duration(profile.job)}, from {count(len(profile.reported), 'SageMaker rule report')}"
    return (
        f"{duration(profile.job)}, {count(len(profile.steps), 'step')}, {profile.job.status.lower()}, "
        f"recorded by {profile.job.source}"
    )


def summary_blocks(
    profile: Profile, findings: Sequence[Finding], verification: Verification | None
) -> list[Markup | str]:
    """The issues with their advice, what was verified, and headline figures."""
    issues = [finding for finding in findings if finding.status == "issue" and finding.rule != SUMMARY_RULE]
    blocks: list[Markup | str] = [*state_blocks(profile)]
    if issues:
        blocks.append(
            callout("issue", count(len(issues), "issue"), bullets([issue_text(finding) for finding in issues]))
        )
    elif any(finding.status == "ok" for finding in findings):
        blocks.append(callout("ok", "No issues found", "Rules without data or not applicable are listed below."))
    else:
        blocks.append(callout("info", "No rule could be evaluated", "The profile has too little data."))
    if verification and verification.recommended:
        changes = ", ".join(f"{name} = {value}" for name, value in verification.recommended.items())
        blocks.append(callout("ok", f"Measurably faster: {changes}", verification.sentence))
    blocks.append(headline(profile, issues))
    return blocks


def state_blocks(profile: Profile) -> list[Markup]:
    """That the run didn't end well, if so."""
    words = {"Incomplete": "did not finish", "Failed": "failed", "Stopped": "was stopped"}
    if profile.job.status not in words:
        return []
    heading = f"The run {words[profile.job.status]}"
    return [callout("bad", heading, "The report covers what was recorded until then.")]


def headline(profile: Profile, issues: Sequence[Finding]) -> Markup:
    """The headline figures as tiles."""
    return tiles(_tiles(profile, issues))


def issue_text(finding: Finding) -> Markup:
    """A finding in one line: the rule, its evidence, and its advice."""
    return Markup("<strong>{}</strong>: {}. <em>{}</em>").format(
        finding.rule, finding.evidence.rstrip("."), finding.advice
    )


def _tiles(profile: Profile, issues: Sequence[Finding]) -> list[Tile]:
    items = [
        Tile("Duration", duration(profile.job)),
        Tile("Issues", str(len(issues)), tone="issue" if issues else "ok"),
    ]
    steps = profile.steps
    if len(steps):
        by_phase = phase_seconds(profile)
        phase = max(by_phase, key=lambda name: by_phase[name])
        mask = steps.of(phase) & steps.steady
        if mask.any():
            items.append(
                Tile(
                    "Mean step",
                    seconds(float(steps.duration[mask].mean())),
                    f"{phase}, {count(int(mask.sum()), 'step')}",
                )
            )
            images = float(steps.images[mask].sum())
            if images:
                items.append(Tile("Throughput", f"{images / float(steps.duration[mask].sum()):,.1f} images/s", phase))
        parts = parts_of(profile, phase)
        if parts:
            most = max(parts, key=lambda part: part.seconds)
            items.append(Tile("Largest part of a step", most.name, f"{share(most.share)} of {phase} steps"))
    reached = flops_share(profile)
    if reached is not None:
        items.append(Tile("Of the machine's peak", share(reached), "model FLOPs utilization"))
    return items


def _rules_section(findings: Sequence[Finding]) -> Section:
    """AWS's section 4: every rule with its description, finding and parameters."""
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
    blocks: list[Markup | str] = [table("Rules", ["Status", "Rule", "Finding"], rows)]
    blocks.append(details("Counts and parameters", table("Counts and parameters", heads, figures)))
    if differs:
        blocks.append(details("Differences from SageMaker Debugger's rules", bullets(differs)))
    return Section("Rules", blocks, lead="No data isn't a pass: the rule couldn't be evaluated.")


def _rule_cell(finding: Finding) -> Markup:
    about = ALL_RULES[finding.rule].about if finding.rule in ALL_RULES else ""
    return Markup("<strong>{}</strong><br>{}").format(finding.rule, about)


def _found_cell(finding: Finding) -> Markup:
    advice = Markup("<br><em>{}</em>").format(finding.advice) if finding.advice else ""
    return Markup("{}{}").format(finding.evidence, advice)


def _status(finding: Finding) -> Markup:
    return Markup("<strong>{}</strong>").format(_STATUS_WORDS[finding.status])


def _verified_section(verification: Verification) -> Section:
    """Measurements of advice that was tried, with their spread."""
    rows = [
        (
            trial.name,
            f"{trial.before:.2f} s ± {trial.before_spread:.2f}",
            f"{trial.after:.2f} s ± {trial.after_spread:.2f}",
            f"{trial.speedup:.2f}x",
            trial.repeats,
            _outcome(trial),
            trial.note,
        )
        for trial in verification.trials
    ]
    heads: list[Column | str] = [
        "Change",
        *(Column(n, True) for n in ("Before", "After", "Speedup", "Runs")),
        "Outcome",
        "Note",
    ]
    tried = [trial for trial in verification.trials if trial.after > 0]
    bars = [Bar("unchanged", tried[0].before)] + [Bar(t.name, t.after) for t in tried] if tried else []
    return Section(
        "Advice, tried and measured",
        [
            verification.sentence,
            table("Trials", heads, rows, empty="There was no advice to try."),
            bar_chart("Seconds", bars, format=seconds),
        ],
        lead="Runs with and without each change alternated; ± is half the interquartile range.",
    )


def _outcome(trial: Trial) -> Literal["kept", "not faster", "could not be run"]:
    return "kept" if trial.kept else "not faster" if trial.after > 0 else "could not be run"
