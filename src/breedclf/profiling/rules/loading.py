"""Rules about how pictures reach the loop: workers, reading, decoding."""

from __future__ import annotations

from typing import Any

from breedclf.profiling.profile import Profile
from breedclf.profiling.rules.finding import Finding, issue, no_data, ok, rule
from breedclf.profiling.rules.text import count, seconds, share


def wait_share(profile: Profile) -> float | None:
    """Share of the steps' time that went into waiting for data; None when nobody timed it."""
    waited = profile.steps.parts.get("data_wait")
    if waited is None or not len(waited):
        return None
    steady = profile.steps.steady
    total = float(profile.steps.duration[steady].sum())
    return float(waited[steady].sum()) / total if total > 0 else 0.0


@rule(
    "Dataloader",
    group="loading",
    differs="Workers outside the band are an issue only where steps also wait for data (max_wait_share); where "
    "the wait "
    "wasn't timed, as in SageMaker's own data, the band decides alone. AWS's band alone blames every run on a "
    "small machine "
    "and every run on cached data. Pinned memory is advised only where CUDA is used.",
)
def dataloader(
    profile: Profile, *, min_threshold: float = 70.0, max_threshold: float = 200.0, max_wait_share: float = 0.1
) -> Finding:
    """Too few or too many loader processes for the cores there are."""
    workers, cores = profile.loader.workers, sum(profile.job.cores.values())
    if workers is None or not cores:
        return no_data("the number of loader workers or of cores isn't known")
    counted = max(1, workers)  # as AWS counts: without workers the loop itself loads
    percent = 100.0 * counted / cores
    waiting = wait_share(profile)
    pin: dict[str, Any] = {}
    pin_advice = ""
    if profile.job.uses_cuda and profile.loader.pin_memory is False:
        pin = {"pin_memory": True}
        pin_advice = " Use pin_memory=True: copies to the GPU then overlap with computing."
    as_one = "counted as one, " if workers == 0 else ""
    told = f"{count(workers, 'worker')} for {count(cores, 'core')} ({as_one}{percent:.0f}%)"
    told += "" if waiting is None else f", and steps waited for data {share(waiting)} of their time"
    details = {"workers": workers, "cores": cores, "percent": percent, "wait_share": waiting}
    waits = waiting is None or waiting > max_wait_share
    if (percent < min_threshold and waits) or (workers == 0 and waiting is not None and waits):
        wanted = max(1, round(cores * 0.9)) if cores > 2 else cores
        return issue(
            f"{told}; {min_threshold:g}% to {max_threshold:g}% is the band",
            f"Raise the number of workers, for instance to {wanted}.{pin_advice}",
            datapoints=1,
            changes={"workers": wanted, **pin},
            details=details,
        )
    if percent > max_threshold:
        return issue(
            f"{told}; {min_threshold:g}% to {max_threshold:g}% is the band",
            f"Lower the number of workers to {cores}: more than that only compete for the cores.{pin_advice}",
            datapoints=1,
            changes={"workers": cores},
            details=details,
        )
    if percent < min_threshold:
        told += f": below the band of {min_threshold:g}% to {max_threshold:g}%, but data was not what steps waited for"
    return ok(told, advice=pin_advice.strip(), datapoints=1, details=details)


@rule("SlowReader", group="loading")
def slow_reader(
    profile: Profile, *, max_read_seconds: float = 0.01, max_share: float = 0.5, max_wait_share: float = 0.1
) -> Finding:
    """Storage is what pictures wait for: reading one takes longer than decoding it."""
    loader = profile.loader
    if loader.read_seconds is None:
        return no_data("the reading of pictures wasn't timed")
    whole = loader.read_seconds + (loader.decode_seconds or 0.0) + (loader.transform_seconds or 0.0)
    part = loader.read_seconds / whole if whole else 0.0
    waiting = wait_share(profile)
    told = f"a picture took {seconds(loader.read_seconds)} to read, {share(part)} of the time to load it"
    told += "" if waiting is None else f"; steps waited for data {share(waiting)} of their time"
    if loader.read_seconds > max_read_seconds and part > max_share and (waiting is None or waiting > max_wait_share):
        return issue(
            told,
            "Copy the pictures to a local disk, pack many small files into few large ones, or keep the feature "
            "cache on, "
            "which reads each picture once. More workers hide the latency, not a lack of bandwidth.",
            datapoints=loader.pictures_measured or 1,
            changes={"workers": max(2, sum(profile.job.cores.values()))},
        )
    return ok(told, datapoints=loader.pictures_measured or 1)


@rule("SlowTransform", group="loading")
def slow_transform(profile: Profile, *, max_share: float = 0.5, max_wait_share: float = 0.1) -> Finding:
    """Decoding and transforming pictures on the CPU is what steps wait for."""
    loader = profile.loader
    if loader.decode_seconds is None and loader.transform_seconds is None:
        return no_data("the decoding of pictures wasn't timed")
    prepare = (loader.decode_seconds or 0.0) + (loader.transform_seconds or 0.0)
    whole = prepare + (loader.read_seconds or 0.0)
    part = prepare / whole if whole else 0.0
    waiting = wait_share(profile)
    if waiting is None:
        return no_data("the time that steps wait for data wasn't measured")
    told = (
        f"a picture took {seconds(prepare)} to decode and transform, {share(part)} of the time to load it; "
        f"steps waited for data {share(waiting)} of their time"
    )
    if part > max_share and waiting > max_wait_share:
        return issue(
            told,
            "Decode straight to a smaller size, drop transforms that don't pay, use more workers while cores are "
            "free, or "
            "keep the feature cache on, which decodes each picture once.",
            datapoints=loader.pictures_measured or 1,
            changes={"workers": max(1, sum(profile.job.cores.values()))},
        )
    return ok(told, datapoints=loader.pictures_measured or 1)
