"""Values that nothing measures: in a rule's parameters and in profile.json, refused by name or read over."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from breedclf import ProfilingSession
from breedclf.cli import main
from breedclf.errors import ConfigError, ProfileError
from breedclf.profiling.profile import JobInfo, Profile
from breedclf.profiling.report import render_report, write_trace
from breedclf.profiling.report.diff import as_text, compare
from breedclf.profiling.reported import RuleReport
from breedclf.profiling.rules import ALL_RULES, Finding, check, choose_rules, ok
from tests.profiling import planted_profiles as planted

NUMERIC = [
    (rule.name, name)
    for rule in ALL_RULES.values()
    for name, value in rule.parameters.items()
    if isinstance(value, int | float) and not isinstance(value, bool)
]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), "nan", "inf", "", "many", None, [1], {}])
@pytest.mark.parametrize(("rule", "parameter"), NUMERIC)
def test_a_parameter_that_is_no_number_is_refused_by_name(rule: str, parameter: str, value: Any) -> None:
    usual = ALL_RULES[rule].parameters[parameter]
    with pytest.raises(ConfigError) as caught:
        choose_rules({rule: {parameter: value}})
    assert str(caught.value).startswith(f"rule {rule}, {parameter}={value!r}: ")
    assert str(caught.value).endswith(f"; the default is {usual}")


@pytest.mark.parametrize(("rule", "parameter"), NUMERIC)
def test_negative_parameters_are_refused_unless_the_default_is_negative(rule: str, parameter: str) -> None:
    if ALL_RULES[rule].parameters[parameter] < 0:
        (changed,) = choose_rules([ALL_RULES[rule].with_parameters({parameter: -1})])
        assert changed.parameters[parameter] == -1
        return
    with pytest.raises(ConfigError, match=f"rule {rule}, {parameter}=-1: .* the default is"):
        choose_rules({rule: {parameter: -1}})


@pytest.mark.parametrize("value", [0, 1, 1e-300, 1e300, 10**30])
def test_any_accepted_parameter_is_answered(value: float) -> None:
    runs = [planted.clean(), Profile(job=JobInfo(name="empty", start=0.0, end=1.0))]
    for rule, parameter in NUMERIC:
        try:
            changed = ALL_RULES[rule].with_parameters({parameter: value})
        except ConfigError:
            continue
        assert all(isinstance(changed(run), Finding) for run in runs)


def test_words_of_the_command_line_become_numbers_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert choose_rules({"StepOutlier": {"stddev": "2"}})[0].parameters["stddev"] == 2.0
    assert main(["profile", str(tmp_path), "--rules", "StepOutlier:stddev=nan"]) == 2
    assert "rule StepOutlier, stddev='nan': give a finite number; the default is 3.0" in capsys.readouterr().err


def test_a_rule_of_your_own_sets_its_own_ranges() -> None:
    def mine(profile: Profile, *, limit: float = 1.0) -> Finding:
        """Mine."""
        del profile
        return ok(f"{limit}", datapoints=1)

    (rule,) = choose_rules([mine])
    assert rule.with_parameters({"limit": -1}).parameters == {"limit": -1.0}
    with pytest.raises(ConfigError, match=r"rule mine, limit='x': Input should be a valid number.*default is 1.0"):
        rule.with_parameters({"limit": "x"})


HOSTILE: list[Any] = [
    *(float("nan"), float("inf"), -1, -1e300, 1e300, 1e18, 10**30, 10**400),
    *(None, "x", "", [], {}, True, [1], [[1, 2], [3]], ["a"]),
]


def places(value: Any, above: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every path in a document: all keys, and the first and last item of every list."""
    yield above
    if isinstance(value, dict):
        for name, each in value.items():
            yield from places(each, (*above, name))
    elif isinstance(value, list):
        for at in sorted({0, len(value) - 1} & set(range(len(value)))):
            yield from places(value[at], (*above, at))


def changed(value: Any, place: tuple[str | int, ...], to: Any) -> Any:
    if not place:
        return to
    inside = changed(value[place[0]], place[1:], to)
    if isinstance(value, dict):
        return {**value, place[0]: inside}
    return [inside if at == place[0] else each for at, each in enumerate(value)]


def small(profile: Profile) -> Any:
    """A profile's document with a few steps and samples."""
    document = json.loads(profile.to_json())
    for columns in (document["steps"], document["steps"]["parts"]):
        for name, column in columns.items():
            if isinstance(column, list) and name not in ("phases", "nodes"):
                columns[name] = [*column[:4], *column[-4:]]
    for series in document["system"]["series"]:
        series.update(time=series["time"][:64], value=series["value"][:64])
    return document


@pytest.mark.filterwarnings("error")
def test_an_edited_profile_is_refused_or_judged_and_never_crashes(tmp_path: Path) -> None:
    document = small(planted.clean())
    document["reported"] = [RuleReport(rule="BatchSize", details={"algo-1": {"p95": 1.0}}).model_dump()]
    usual = Profile.from_json(json.dumps(document))
    cases = [(place, hostile) for place in places(document) for hostile in HOSTILE]
    chosen = random.Random(1).sample(cases, 400)
    refused = 0
    for place, hostile in chosen:
        text = json.dumps(changed(document, place, hostile))
        try:
            profile = Profile.from_json(text)
        except ProfileError as error:
            assert "Traceback" not in str(error)
            refused += 1
            continue
        findings = check(profile)
        if refused % 4 == 0:
            render_report(profile, findings)
            write_trace(profile, tmp_path / "trace.json")
            as_text(compare(usual, profile))
        Profile.from_json(profile.to_json())
    assert 100 < refused < len(chosen)


@pytest.mark.parametrize(
    ("place", "value", "reason"),
    [
        (("steps", "duration", 0), -1, "-1 is not between 0 and 1e\\+11"),
        (("steps", "duration", 0), 1e300, "1e\\+300 is not between"),
        (("steps", "duration", 0), None, "nan is not between"),
        (("steps", "start", 0), "x", "could not convert string to float: 'x'"),
        (("steps", "parts", "forward", 0), -0.5, "-0.5 is not between 0"),
        (("steps", "epoch", 0), 1.5, "expected a column of whole numbers"),
        (("steps", "epoch", 0), 10**30, "expected a column of whole numbers"),
        (("job", "end"), 1e18, "less than or equal to 100000000000"),
        (("job", "start"), -1, "greater than or equal to 0"),
        (("job", "gpus"), -1, "greater than or equal to 0"),
        (("system", "series", 0, "time", 0), "inf", "inf is not between"),
        (("job", "start"), float("nan"), "NaN is not valid JSON"),
    ],
)
def test_an_edited_profile_is_refused_with_place_and_value(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], place: tuple[str | int, ...], value: Any, reason: str
) -> None:
    (tmp_path / "profile.json").write_text(json.dumps(changed(small(planted.clean()), place, value)))
    with pytest.raises(ProfileError, match=reason) as caught:
        ProfilingSession.attach(tmp_path)
    assert str(tmp_path / "profile.json") in str(caught.value)
    assert main(["profile", str(tmp_path), "--output", str(tmp_path / "out")]) == 3
    assert capsys.readouterr().err.startswith("breedclf: profile ")


def test_the_noise_of_a_clock_is_no_negative_duration() -> None:
    document = changed(small(planted.clean()), ("steps", "duration", 0), -1e-9)
    assert Profile.from_json(json.dumps(document)).steps.duration[0] == 0


def test_settings_of_another_version_or_edited_ones_dont_hinder_the_report(tmp_path: Path) -> None:
    known = {"data": str(tmp_path), "no_such": 1}
    for settings in (known, {"data": "\0"}, {"data": "x" * 5000}, {"data": [1]}):
        job = JobInfo(name="run", start=0.0, end=1.0, settings=settings)
        session = ProfilingSession.attach(Profile(job=job).save(tmp_path / "profile.json"))
        assert session.findings
        if settings is known:
            assert session.config is not None and session.config.data == tmp_path
        else:
            assert session.config is None
