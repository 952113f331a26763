"""Rules: pure functions from a profile to a finding, with the names and parameters of SageMaker Debugger's rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from breedclf.config import nearest
from breedclf.errors import ConfigError
from breedclf.profiling.profile import Profile
from breedclf.profiling.rules import capacity, learning, loading, memory, steps, system, tensors
from breedclf.profiling.rules.finding import (
    Finding,
    FindingStatus,
    Rule,
    as_rule,
    issue,
    no_data,
    not_applicable,
    ok,
)
from breedclf.profiling.rules.reported import reported_finding

__all__ = [
    "ALL_RULES",
    "Finding",
    "FindingStatus",
    "Rule",
    "RuleChoice",
    "check",
    "choose_rules",
    "issue",
    "no_data",
    "not_applicable",
    "ok",
]

ALL_RULES: dict[str, Rule] = {
    rule.name: rule
    for rule in (
        steps.step_outlier,
        loading.dataloader,
        loading.slow_reader,
        loading.slow_transform,
        capacity.batch_size,
        system.cpu_bottleneck,
        system.io_bottleneck,
        system.low_gpu_utilization,
        memory.gpu_memory_increase,
        memory.host_memory_increase,
        capacity.core_oversubscription,
        system.load_balancing,
        steps.max_initialization_time,
        tensors.vanishing_gradient,
        tensors.exploding_tensor,
        tensors.poor_weight_initialization,
        tensors.saturated_activation,
        tensors.dead_relu,
        tensors.weight_update_ratio,
        tensors.all_zero,
        tensors.unchanged_tensor,
        tensors.check_input_images,
        learning.loss_not_decreasing,
        learning.overfit,
        learning.overtraining,
        learning.class_imbalance,
        learning.stalled_training,
        system.overall_system_usage,
        steps.overall_framework_metrics,
    )
}

OneRule = str | Rule | Callable[..., Finding]
RuleChoice = Mapping[OneRule, Mapping[str, Any]] | Mapping[str, Mapping[str, Any]] | Iterable[OneRule] | None


def choose_rules(choice: RuleChoice = None) -> list[Rule]:
    """Select rules: all, some by name, some with other parameters, or your own functions.

    Args:
        choice: None for all rules; `{"StepOutlier": {"stddev": 2}, own_function: {"limit": 3}}` for all rules, with
            some parameters changed, and your own ones; or a list of names, rules and functions
            `check(profile) -> Finding` for only those.

    Raises:
        ConfigError: a name or a parameter is unknown, or an entry isn't a rule.
    """
    if choice is None:
        return list(ALL_RULES.values())
    if isinstance(choice, Mapping):
        changed = [_rule(one).with_parameters(_parameters(one, changes)) for one, changes in choice.items()]
        return list((ALL_RULES | {rule.name: rule for rule in changed}).values())
    if isinstance(choice, str) or not isinstance(choice, Iterable):
        raise ConfigError(f"rules={choice!r}: give a list of rules, or a mapping from rules to their parameters")
    return [_rule(one) for one in choice if one != "ProfilerReport"]


def check(profile: Profile, rules: RuleChoice = None) -> list[Finding]:
    """Apply rules to a profile; the last finding, ProfilerReport, summarizes the others.

    Example:
        >>> from breedclf.profiling.profile import JobInfo
        >>> findings = check(Profile(job=JobInfo(name="empty", start=0.0, end=1.0)))
        >>> findings[-1].rule, findings[0].status
        ('ProfilerReport', 'no_data')
    """
    findings = [_finding_of(rule, profile) for rule in choose_rules(rules)]
    if rules is None or isinstance(rules, Mapping):
        findings += [reported_finding(report) for report in profile.reported if report.rule not in ALL_RULES]
    return [*findings, _summary(findings)]


def _finding_of(rule: Rule, profile: Profile) -> Finding:
    """The rule's own finding if the profile has the data, otherwise the report of SageMaker's rule of that name."""
    report = next((each for each in profile.reported if each.rule == rule.name), None)
    if report is None:
        if profile.job.source != "sagemaker report" or rule.name not in ALL_RULES:
            return rule(profile)
        return no_data("SageMaker's report has no such rule, and lacks the data that it needs").model_copy(
            update={"rule": rule.name}
        )
    if profile.job.source != "sagemaker report" and (found := rule(profile)).status != "no_data":
        return found
    found = reported_finding(report)
    if rule.parameters == ALL_RULES[rule.name].parameters:
        return found
    note = "; other parameters need the raw data, which isn't part of a report"
    return found.model_copy(update={"evidence": found.evidence + note})


def _rule(one: object) -> Rule:
    if isinstance(one, str):
        return _known(one)
    if isinstance(one, Rule) or callable(one):
        return as_rule(one)
    raise ConfigError(f"{one!r} is no rule: give the name of one, or a function check(profile) -> Finding")


def _parameters(one: object, changes: object) -> Mapping[str, Any]:
    if isinstance(changes, Mapping):
        return changes
    raise ConfigError(f"the parameters of rule {one!r} must be a mapping such as {{'limit': 3}}, not {changes!r}")


def _known(name: str) -> Rule:
    if name not in ALL_RULES:
        raise ConfigError(f"unknown rule {name!r}: {nearest(name, [*ALL_RULES, 'ProfilerReport'])}")
    return ALL_RULES[name]


def _summary(findings: list[Finding]) -> Finding:
    """Summary of all rules, as AWS's ProfilerReport: an issue if one of them is."""
    by_status = {
        status: [f.rule for f in findings if f.status == status]
        for status in ("issue", "ok", "no_data", "not_applicable")
    }
    evidence = (
        f"{len(findings)} rules: {len(by_status['issue'])} with an issue, {len(by_status['ok'])} OK, "
        f"{len(by_status['no_data'])} without data, {len(by_status['not_applicable'])} not applicable"
    )
    status: FindingStatus = "issue" if by_status["issue"] else "ok" if by_status["ok"] else "no_data"
    return Finding(
        rule="ProfilerReport",
        status=status,
        evidence=evidence,
        advice=f"See {', '.join(by_status['issue'])}." if by_status["issue"] else "",
        datapoints=len(findings),
        times_triggered=len(by_status["issue"]),
        violations=len(by_status["issue"]),
        details={"rules": by_status},
    )
