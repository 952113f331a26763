"""SageMaker Debugger's part of a request, for accounts that still have it (closed to new ones since 2026-07-30)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Names as AWS publishes them; a rule's parameters repeat its name.
PROFILER_RULES = ("ProfilerReport", "LowGPUUtilization", "CPUBottleneck", "BatchSize", "IOBottleneck", "StepOutlier")
DEBUG_RULES = ("LossNotDecreasing", "VanishingGradient", "Overfit", "Overtraining", "PoorWeightInitialization")
_INTERVAL_MILLISECONDS = 500
_SAVE_STEPS = {"train.save_interval": "100", "eval.save_interval": "10"}
_COLLECTIONS = {"losses": {}, "gradients": {}, "relu_input": {"include_regex": ".*relu_input"}}
REQUEST_KEYS = ("ProfilerConfig", "ProfilerRuleConfigurations", "DebugHookConfig", "DebugRuleConfigurations")
_STATUSES = {"profiler_rules": "ProfilerRuleEvaluationStatuses", "debug_rules": "DebugRuleEvaluationStatuses"}


def debugger_request(output_uri: str, image: str) -> dict[str, Any]:
    """The additional keys of a training job's request: system profiling, saved tensors, and the rules for both."""
    return {
        "ProfilerConfig": {
            "S3OutputPath": output_uri,
            "ProfilingIntervalInMilliseconds": _INTERVAL_MILLISECONDS,
        },
        "ProfilerRuleConfigurations": [_rule(name, image) for name in PROFILER_RULES],
        "DebugHookConfig": {
            "S3OutputPath": output_uri,
            "CollectionConfigurations": [
                {"CollectionName": name, "CollectionParameters": _SAVE_STEPS | more}
                for name, more in _COLLECTIONS.items()
            ],
        },
        "DebugRuleConfigurations": [_rule(name, image) for name in DEBUG_RULES],
    }


def without_debugger(request: Mapping[str, Any]) -> dict[str, Any]:
    """The same request for an account that has no Debugger."""
    return {key: value for key, value in request.items() if key not in REQUEST_KEYS}


def rule_statuses(answer: Mapping[str, Any]) -> dict[str, list[dict[str, str]]]:
    """The status of each rule, from the response of DescribeTrainingJob; empty if there are no rules.

    Example:
        >>> rule_statuses({"DebugRuleEvaluationStatuses": [
        ...     {"RuleConfigurationName": "Overfit", "RuleEvaluationStatus": "NoIssuesFound"}]})
        {'debug_rules': [{'rule': 'Overfit', 'status': 'NoIssuesFound', 'message': ''}]}
    """
    return {
        ours: [
            {
                "rule": each.get("RuleConfigurationName", ""),
                "status": each.get("RuleEvaluationStatus", ""),
                "message": each.get("StatusDetails", ""),
            }
            for each in answer[theirs]
        ]
        for ours, theirs in _STATUSES.items()
        if answer.get(theirs)
    }


def _rule(name: str, image: str) -> dict[str, Any]:
    return {
        "RuleConfigurationName": name,
        "RuleEvaluatorImage": image,
        "RuleParameters": {"rule_to_invoke": name},
    }
