"""Passes over images that jobs on several machines share through S3."""

from __future__ import annotations

import json
import logging
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from breedclf.errors import TrainingStoppedError
from breedclf.features.remote import remote_set, shared_pass
from breedclf.features.remote.bucket import Bucket
from breedclf.features.remote.lease import Holder, LeaseTimes, take
from breedclf.features.remote.shared_pass import PassTimes, parts_of
from breedclf.files.s3_uri import S3Location
from tests.features.remote.conftest import SPEC, JobOnOneMachine, digests_of, values_of

NewJob = Callable[..., JobOnOneMachine]


def names(s3: Any, below: str = "features/") -> list[str]:
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket="photos", Prefix=below)
    return [each["Key"].removeprefix(f"{below}{SPEC.key}/") for page in pages for each in page.get("Contents", ())]


def requests_of(s3: Any) -> Counter[str]:
    """Counts the requests from now on, by operation."""
    counts: Counter[str] = Counter()

    def count(model: Any, **_: Any) -> None:
        counts[model.name] += 1

    s3.meta.events.register("before-call.s3", count)
    return counts


def test_a_later_job_computes_nothing_and_reads_no_object_for_each_image(job: NewJob, s3: Any) -> None:
    digests = digests_of(300)
    first, second = job("first"), job("second")
    first.run(digests)
    counts = requests_of(s3)
    assert torch.equal(second.run(digests), values_of(digests))
    assert (len(first.computed), len(second.computed)) == (300, 0)
    assert counts == {"ListObjectsV2": 1, "GetObject": 2}  # the index, and all rows
    about = json.loads(s3.get_object(Bucket="photos", Key=f"features/{SPEC.key}/set.json")["Body"].read())
    assert about["spec"]["weights"] == "weights"


def test_more_images_cost_only_themselves(job: NewJob) -> None:
    digests = digests_of(300)
    job("first").run(digests[:299])
    second = job("second")
    assert torch.equal(second.run(digests), values_of(digests))
    assert second.computed == [digests[299].tobytes()]


@pytest.mark.parametrize("parts", [1, 4])
def test_jobs_at_the_same_time_compute_each_image_once(
    job: NewJob, parts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_pass, "_PART_IMAGES", 1_000 // parts)
    digests = digests_of(1_000)
    assert len(parts_of(digests)) == parts
    jobs = [job(f"job {number}") for number in range(4)]
    all_started = threading.Barrier(4)
    results: list[torch.Tensor] = []

    def run(each: JobOnOneMachine) -> None:
        all_started.wait()
        results.append(each.run(digests))

    threads = [threading.Thread(target=run, args=(each,)) for each in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(name for each in jobs for name in each.computed) == sorted(each.tobytes() for each in digests)
    assert len(results) == 4
    assert all(torch.equal(each, values_of(digests)) for each in results)


def test_an_interrupted_job_leaves_what_it_computed(job: NewJob) -> None:
    def interrupt(computed: int) -> None:
        if computed >= 640:
            raise KeyboardInterrupt

    digests = digests_of(1_000)
    first, second = job("first"), job("second")
    with pytest.raises(KeyboardInterrupt):
        first.run(digests, interrupt)
    second.run(digests)  # at once: the lease was released
    assert (len(first.computed), len(second.computed)) == (640, 1_000 - 640 + 64)


def test_a_long_pass_is_uploaded_meanwhile(job: NewJob, s3: Any) -> None:
    seen: list[int] = []
    busy = job("first", times=PassTimes(upload=0.0))
    busy.run(digests_of(320), lambda _: seen.append(sum(name.endswith(".rows") for name in names(s3))))
    assert seen == [0, 1, 2, 3, 4]


def test_features_of_this_machine_are_uploaded_for_others(job: NewJob, s3: Any) -> None:
    digests = digests_of(100)
    job("first").run(digests)
    for name in names(s3):
        s3.delete_object(Bucket="photos", Key=f"features/{SPEC.key}/{name}")
    again, other = job("first"), job("other")
    again.run(digests)
    other.run(digests)
    assert (again.computed, other.computed) == ([], [])


def test_many_small_segments_are_found_by_few_requests(job: NewJob, s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_set, "_MAX_INDEXES", 3)
    digests = digests_of(12)
    for count in range(1, 13):
        job(f"job {count}").run(digests[:count])
    indexes = [name for name in names(s3) if name.endswith(".index")]
    counts = requests_of(s3)
    late = job("late")
    assert torch.equal(late.run(digests), values_of(digests))
    assert late.computed == []
    assert len(indexes) > 12
    assert counts["GetObject"] <= 12 + 1 + 4  # segments, the merged index, and those since


def test_damaged_rows_are_computed_again(job: NewJob, s3: Any, caplog: pytest.LogCaptureFixture) -> None:
    digests = digests_of(100)
    job("first").run(digests)
    (rows,) = [name for name in names(s3) if name.endswith(".rows")]
    key = f"features/{SPEC.key}/{rows}"
    content = bytearray(s3.get_object(Bucket="photos", Key=key)["Body"].read())
    content[16 * 10] ^= 1
    s3.put_object(Bucket="photos", Key=key, Body=bytes(content))
    second = job("second")
    assert torch.equal(second.run(digests), values_of(digests))
    assert len(second.computed) == 1
    assert "1 features at s3://photos/features are damaged and are computed again" in caplog.text


@pytest.mark.parametrize("damage", ["cut segment", "cut index", "no segment"])
def test_objects_that_do_not_fit_are_left_out(
    job: NewJob, s3: Any, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    digests = digests_of(100)
    job("first").run(digests)
    suffix = ".index" if "index" in damage else ".rows"
    (name,) = [name for name in names(s3) if name.endswith(suffix)]
    key = f"features/{SPEC.key}/{name}"
    content = s3.get_object(Bucket="photos", Key=key)["Body"].read()
    s3.delete_object(Bucket="photos", Key=key)
    if "cut" in damage:
        s3.put_object(Bucket="photos", Key=key, Body=content[:-10])
    second = job("second")
    assert torch.equal(second.run(digests), values_of(digests))
    assert len(second.computed) == 100
    assert ".index is not used" in caplog.text


def test_a_merged_index_counts_also_when_a_segment_was_deleted(
    job: NewJob, s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_set, "_MAX_INDEXES", 1)
    digests = digests_of(30)
    for count in (10, 20, 30):
        job(f"job {count}").run(digests[:count])
    first = min(
        names(s3),
        key=lambda name: (
            not name.endswith(".rows"),
            s3.head_object(Bucket="photos", Key=f"features/{SPEC.key}/{name}")["LastModified"],
        ),
    )
    s3.delete_object(Bucket="photos", Key=f"features/{SPEC.key}/{first}")
    late = job("late")
    assert torch.equal(late.run(digests), values_of(digests))
    assert len(late.computed) == 10


def test_a_network_that_fails_later_does_not_end_the_pass(
    job: NewJob, s3: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(**_: Any) -> None:
        raise OSError("Network is unreachable")

    def cut_off(computed: int) -> None:
        if computed == 128:
            s3.meta.events.register_first("before-call.s3", fail)

    digests = digests_of(300)
    first = job("first")
    assert torch.equal(first.run(digests, cut_off), values_of(digests))
    assert len(first.computed) == 300
    assert "Network is unreachable; the features stay on this machine" in caplog.text
    s3.meta.events.unregister("before-call.s3", fail)
    caplog.clear()
    cut = job("second")
    s3.meta.events.register_first("before-call.s3", fail)
    cut.run(digests)
    assert len(cut.computed) == 300
    s3.meta.events.unregister("before-call.s3", fail)
    assert "this job computes the missing features itself" in caplog.text


def test_a_lease_is_taken_over_after_its_time_and_the_first_holder_stops(
    job: NewJob, caplog: pytest.LogCaptureFixture
) -> None:
    digests = digests_of(640)
    suspended = threading.Event()
    goes_on = threading.Event()

    def suspend(computed: int) -> None:
        if computed == 128:
            suspended.set()
            assert goes_on.wait(60)

    times = PassTimes(first_wait=0.05, wait=0.05, log=0.0, lease=LeaseTimes(valid=1.0, renewal=60.0))
    first, second = job("first", times=times), job("second", times=times)
    thread = threading.Thread(target=first.run, args=(digests, suspend))
    thread.start()
    assert suspended.wait(60)
    second.run(digests)
    goes_on.set()
    thread.join()
    assert len(second.computed) == 640
    assert "has not renewed its lease for" in caplog.text


def test_a_job_that_waits_says_so_and_can_be_stopped(job: NewJob, s3: Any, caplog: pytest.LogCaptureFixture) -> None:
    def stop(there: int) -> None:
        raise TrainingStoppedError(f"{there} are there")

    caplog.set_level(logging.INFO)
    digests = digests_of(100)
    job("before").run(digests[:40])
    bucket = Bucket(s3, S3Location("photos", "features"))
    (part,) = parts_of(digests)
    held = take(bucket, f"{SPEC.key}/leases/{part}", Holder("train-7", "7"), LeaseTimes())
    assert not isinstance(held, Holder)
    with held:
        with pytest.raises(TrainingStoppedError, match="40 are there"):
            job("second", times=PassTimes(first_wait=0.01, log=0.0)).run(digests, on_wait=stop)
        job("with other images").run(digests_of(100, seed=1))  # waits for nobody
    assert "waiting for train-7, which computes features: 40 of 100 are there" in caplog.text


def test_a_lease_has_one_holder_until_it_is_released(s3: Any) -> None:
    bucket, times = Bucket(s3, S3Location("photos", "features")), LeaseTimes(renewal=0.05)
    held = take(bucket, "leases/1-0", Holder("first", "1"), times)
    assert not isinstance(held, Holder)
    with held:
        refused = take(bucket, "leases/1-0", Holder("second", "2"), times)
        assert isinstance(refused, Holder)
        assert refused.name == "first"
        while held.holder.renewals < 3:
            pass
    taken = take(bucket, "leases/1-0", Holder("second", "2"), times)
    assert not isinstance(taken, Holder)
    assert not held.is_lost


def test_a_holder_that_lost_its_lease_notices(s3: Any) -> None:
    bucket = Bucket(s3, S3Location("photos", "features"))
    held = take(bucket, "leases/1-0", Holder("first", "1"), LeaseTimes(renewal=0.05))
    assert not isinstance(held, Holder)
    with held:
        bucket.put("leases/1-0", Holder("second", "2").to_bytes())
        while not held.is_lost:
            pass
    present = bucket.get("leases/1-0")
    assert present is not None
    assert Holder.from_bytes(present.body) == Holder("second", "2")


def test_a_holder_that_computes_nothing_stops_renewing(s3: Any) -> None:
    bucket = Bucket(s3, S3Location("photos", "features"))
    held = take(bucket, "leases/1-0", Holder("first", "1"), LeaseTimes(renewal=0.02, stalled=0.1))
    assert not isinstance(held, Holder)
    with held:
        while not held.is_lost:
            pass
    assert held.holder.renewals >= 1


def test_parts_contain_each_image_once() -> None:
    digests = digests_of(40_000)
    parts = parts_of(digests)
    assert len(parts) == 4
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(40_000))
    some, mirrored = digests[:100], digests[99::-1]
    assert len(parts_of(some)) == 1
    assert parts_of(some).keys() == parts_of(mirrored).keys() != parts_of(digests[:101]).keys()
