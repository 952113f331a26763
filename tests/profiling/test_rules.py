"""Every rule: fine on a clean run, an issue on the run with its fault, honest where it can't say."""

from __future__ import annotations

import pytest

from breedclf.errors import ConfigError
from breedclf.profiling.profile import JobInfo, Loader, Profile, System
from breedclf.profiling.rules import ALL_RULES, Finding, check, issue, ok
from tests.profiling import planted_profiles as planted
from tests.profiling.planted_faults import FAULTS, GPU, long_steps

GPU_ONLY = {"CPUBottleneck", "LowGPUUtilization", "GPUMemoryIncrease"}


def statuses(profile: Profile) -> dict[str, str]:
    return {finding.rule: finding.status for finding in check(profile)}


def finding(profile: Profile, rule: str, **parameters: object) -> Finding:
    return ALL_RULES[rule].with_parameters(parameters)(profile)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_named_by_its_rule(fault: str) -> None:
    rule, companions, profile = FAULTS[fault]
    named = {name for name, status in statuses(profile()).items() if status == "issue"}
    assert rule in named
    assert named <= {rule, "ProfilerReport", *companions}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_issue_comes_with_numbers_and_advice(fault: str) -> None:
    rule, _, profile = FAULTS[fault]
    found = finding(profile(), rule)
    assert any(character.isdigit() for character in found.evidence)
    assert found.advice.endswith(".") and found.triggers >= 1 and found.parameters == ALL_RULES[rule].parameters


def test_every_rule_that_can_find_something_has_a_fault() -> None:
    assert {rule for rule, _, _ in FAULTS.values()} == set(ALL_RULES) - {
        "OverallSystemUsage",
        "OverallFrameworkMetrics",
    }


def test_a_clean_run_has_no_issue() -> None:
    found = statuses(planted.clean())
    assert {name for name, status in found.items() if status != "ok"} == GPU_ONLY | {"LoadBalancing", "Overtraining"}
    assert {found[name] for name in GPU_ONLY} == {"not_applicable"}


def test_a_clean_run_on_a_gpu_has_no_issue() -> None:
    found = statuses(planted.clean(**GPU, system=planted.gpu_system()))
    assert {name for name, status in found.items() if status != "ok"} == {"LoadBalancing", "Overtraining"}


def test_without_data_no_rule_passes() -> None:
    empty = Profile(job=JobInfo(name="empty", start=0.0, end=1.0))
    assert set(statuses(empty).values()) == {"no_data", "not_applicable"}


def test_one_step_only_is_judged_without_error() -> None:
    found = statuses(planted.clean(steps=planted.steps(1), system=System(), tensors=(), learning=planted.learning()))
    assert found["StepOutlier"] == "ok"
    assert found["IOBottleneck"] == "no_data"


def test_outliers_are_counted_per_phase_and_traced_steps_left_out() -> None:
    steps = planted.steps(duration=long_steps(12))
    train_only = finding(planted.clean(steps=steps), "StepOutlier", mode="valid")
    assert train_only.status == "ok"
    traced = (steps.duration > 10).astype(int)
    assert finding(planted.clean(steps=steps.model_copy(update={"traced": traced})), "StepOutlier").status == "ok"


def test_the_outlier_threshold_is_one_sided_and_its_statistics_include_the_outliers() -> None:
    steps = planted.steps(duration=long_steps(12))
    group = finding(planted.clean(steps=steps), "StepOutlier").details["groups"][0]
    durations = steps.duration[steps.of("train")]
    assert group["threshold"] == pytest.approx(durations.mean() + 3 * durations.std())
    assert len(group["outliers"]) == 12


def test_pinned_memory_is_advised_only_where_cuda_is_used() -> None:
    loader = Loader(workers=1, pin_memory=False)
    assert "pin_memory" not in finding(planted.clean(loader=loader, steps=planted.steps(wait=0.5)), "Dataloader").advice
    on_gpu = planted.clean(loader=loader, steps=planted.steps(wait=0.5), **GPU)
    assert "pin_memory=True" in finding(on_gpu, "Dataloader").advice
    assert finding(on_gpu, "Dataloader").changes["pin_memory"] is True


def test_few_workers_are_no_issue_where_nothing_waits_for_data() -> None:
    cached = finding(planted.clean(loader=Loader(workers=0)), "Dataloader")
    assert cached.status == "ok"
    assert "steps didn't wait for data" in cached.evidence


def test_class_sizes_are_compared_unless_they_are_equal() -> None:
    different = finding(planted.clean(learning=planted.learning(class_counts=[90, 100, 180])), "ClassImbalance")
    assert different.evidence == "corgi has 180 training images, basset 90: 2.0 times as many"
    equal = finding(planted.clean(learning=planted.learning(class_counts=[50, 50, 50])), "ClassImbalance")
    assert (equal.status, equal.evidence) == ("ok", "all classes have 50 training images")


def test_parameters_change_the_status_and_are_reported() -> None:
    profile = planted.clean(steps=planted.steps(duration=long_steps(8)))
    assert finding(profile, "StepOutlier").status == "ok"
    strict = check(profile, {"StepOutlier": {"n_outliers": 5}})[0]
    assert (strict.status, strict.parameters["n_outliers"], strict.parameters["stddev"]) == ("issue", 5, 3.0)


def test_a_plain_function_is_a_rule() -> None:
    def short_run(profile: Profile, *, limit: float = 10.0) -> Finding:
        """Runs that are too short to judge."""
        if profile.job.seconds < limit:
            return issue(f"{profile.job.seconds:.0f} s", "Run longer.", datapoints=1)
        return ok(f"{profile.job.seconds:.0f} s", datapoints=1)

    found = check(planted.clean(), [short_run, "StepOutlier"])
    assert [(one.rule, one.status) for one in found[:2]] == [("short_run", "ok"), ("StepOutlier", "ok")]
    assert found[0].parameters == {"limit": 10.0}


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (["StepOutlyer"], "unknown rule 'StepOutlyer': did you mean 'StepOutlier'"),
        ({"StepOutlier": {"stdev": 2}}, "StepOutlier has no parameter 'stdev': did you mean 'stddev'"),
        ({"StepOutlier": {"stddev": "much"}}, r"rule StepOutlier, stddev='much': Input should be a valid number"),
        ([lambda _profile: "fine"], "must return a Finding, not str"),
    ],
)
def test_a_wrong_choice_of_rules_is_refused(rules: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check(planted.clean(), rules)  # type: ignore[arg-type]
