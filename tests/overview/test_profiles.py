"""Recorded runs: which there are, what each says first, and what is read again."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from breedclf.jobs import JobStatus
from breedclf.overview.folders import WatchedFolders, key_of
from breedclf.overview.overview import Overview
from breedclf.overview.profiles import verdict_of
from breedclf.profiling.rules import check
from breedclf.profiling.verified import Verification, write_verification
from tests.console.running import add_job, overview_in
from tests.overview.planted import VERIFIED, add_profile, clean_profile, empty_profile, slow_profile
from tests.profiling.rule_reports import write as write_rule_reports
from tests.waiting import until


def names(overview: Overview) -> list[str]:
    overview.folder_looks.forget()
    overview.looks.forget()
    return sorted(view.name for view in overview.profiles().value or ())


def test_profiles_of_jobs_and_of_runs_are_found(tmp_path: Path) -> None:
    overview = overview_in(tmp_path)
    assert names(overview) == []
    add_job(tmp_path, "without")
    add_profile(add_job(tmp_path, "dogs"), clean_profile())
    write_rule_reports(add_job(tmp_path, "aws").output_data)
    slow_profile().save(tmp_path / "runs" / "journey" / "profile" / "profile.json")
    too_deep = tmp_path / "runs" / "a" / "b" / "c" / "d"
    clean_profile().save(too_deep / "profile.json")
    (tmp_path / "runs" / "loop").symlink_to(tmp_path / "runs")
    assert names(overview) == ["aws", "dogs", "runs.journey.profile"]

    found = overview.profile("runs.journey.profile").value
    assert found is not None
    assert found.verdict.heading in ("SlowReader", "Dataloader")
    assert found.view.title == "journey/profile"
    aws = overview.profile("aws").value
    assert aws is not None
    assert aws.profile is not None
    assert aws.profile.job.source == "sagemaker report"
    assert aws.verdict.tone == "issue"

    shutil.rmtree(tmp_path / "runs" / "journey")
    shutil.rmtree(tmp_path / "home" / "jobs" / "dogs")
    assert names(overview) == ["aws"]
    assert "no profile dogs" in overview.profile("dogs").problem


def test_a_running_job_grows_and_is_read_again_only_then(tmp_path: Path) -> None:
    overview = overview_in(tmp_path)
    job = add_job(tmp_path, "dogs", status=JobStatus.IN_PROGRESS)
    assert names(overview) == []
    add_profile(job, empty_profile())
    assert names(overview) == ["dogs"]
    first = overview.profile("dogs").value
    assert first is not None
    assert first.view.is_active
    assert first.verdict.heading == "Nothing can be said yet"
    overview.folder_looks.forget()
    assert overview.profile("dogs").value is first  # nothing changed, so nothing was read

    add_profile(job, slow_profile())
    overview.folder_looks.forget()
    grown = overview.profile("dogs").value
    assert grown is not None
    assert grown.verdict.tone == "issue"
    assert len(grown.profile.steps if grown.profile else ()) == 400


def test_the_verdict_is_the_biggest_finding_with_its_measured_effect() -> None:
    slow = slow_profile()
    findings = check(slow)
    alone = verdict_of(slow, findings, None)
    assert alone.tone == "issue"
    assert alone.advice
    assert not alone.effect
    measured = verdict_of(slow, findings, VERIFIED)
    assert measured.heading == "Measurably faster: workers = 2"
    assert measured.effect == VERIFIED.sentence
    useless = Verification(sentence="No change made the run measurably faster: keep the settings.")
    assert verdict_of(slow, findings, useless).heading == alone.heading
    assert "keep the settings" in verdict_of(slow, findings, useless).effect
    clean = clean_profile()
    assert verdict_of(clean, check(clean), None).heading == "No issues found"


def test_what_was_verified_is_stored_beside_the_profile(tmp_path: Path) -> None:
    overview = overview_in(tmp_path)
    folder = tmp_path / "runs" / "fast"
    slow_profile().save(folder / "profile.json")
    assert overview.profile("runs.fast").value is not None
    write_verification(VERIFIED, folder)
    overview.folder_looks.forget()
    found = overview.profile("runs.fast").value
    assert found is not None
    assert found.verification == VERIFIED
    (folder / "verification.json").write_text("{")
    os.utime(folder / "verification.json", (1, 1))
    overview.folder_looks.forget()
    damaged = overview.profile("runs.fast").value
    assert damaged is not None
    assert damaged.verification is None
    assert damaged.profile is not None


def _newer() -> str:
    return json.dumps({**json.loads(clean_profile().to_json()), "schema_version": 99})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        ('{"schema_version": 1, "jo', "truncated"),
        ("[]", "not a breedclf profile"),
        ("[" * 100_000, "truncated or not JSON"),
        (_newer(), "newer breedclf"),
    ],
    ids=["empty", "truncated", "other", "nested", "newer"],
)
def test_a_damaged_profile_says_so_and_the_others_are_read(tmp_path: Path, text: str, reason: str) -> None:
    overview = overview_in(tmp_path)
    clean_profile().save(tmp_path / "runs" / "good" / "profile.json")
    (tmp_path / "runs" / "bad").mkdir()
    (tmp_path / "runs" / "bad" / "profile.json").write_text(text)
    views = overview.profiles().value or ()
    verdicts = overview.recorded.verdicts(views)
    assert verdicts["runs.good"].heading == "No issues found"
    assert verdicts["runs.bad"].tone == "bad"
    assert reason in verdicts["runs.bad"].evidence


def test_verdicts_that_take_too_long_come_later(tmp_path: Path) -> None:
    overview = overview_in(tmp_path)
    text = clean_profile().to_json()
    for number in range(3):
        (tmp_path / "runs" / str(number)).mkdir(parents=True)
        (tmp_path / "runs" / str(number) / "profile.json").write_text(text)
    views = overview.profiles().value or ()
    assert len(overview.recorded.verdicts(views, seconds=0)) < 3
    until(lambda: len(overview.recorded.verdicts(views, seconds=0)) == 3)


def test_folders_are_listed_again_where_something_changed(tmp_path: Path) -> None:
    watched = WatchedFolders(tmp_path, frozenset({"profile.json"}), depth=2)
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    assert watched.holding("profile.json") == []
    (inner / "profile.json").touch()
    assert watched.holding("profile.json") == [inner]
    for folder in (tmp_path, tmp_path / "a", inner):
        os.utime(folder, (1, 1))  # long ago, so that listings are reused
    assert watched.holding("profile.json") == [inner]
    (inner / "profile.json").rename(tmp_path / "profile.json")
    assert watched.holding("profile.json") == [tmp_path]
    assert WatchedFolders(tmp_path / "none", frozenset({"profile.json"})).holding("profile.json") == []


def test_keys_of_folders_are_distinct() -> None:
    root = Path("runs")
    folders = [root / name for name in ("a/b", "a-b", "a b", "a.b", "ä", "..a", "a/b c")]
    keys = [key_of(folder, root) for folder in folders]
    assert len(set(keys)) == len(keys)
    assert all("." in key and "/" not in key for key in keys)
