"""Rules about data loading: workers, reading, decoding."""

from __future__ import annotations

from typing import Any

from breedclf.profiling.profile import Profile
from breedclf.profiling.rules.finding import Finding, issue, no_data, ok, rule
from breedclf.profiling.rules.text import count, seconds, share


def wait_share(profile: Profile) -> float | None:
    """Share of step time spent waiting for data, 0 to 1; None if it wasn't timed."""
    waited = profile.steps.parts.get("data_wait")
    if waited is None or not len(waited):
        return None
    steady = profile.steps.steady
    total = float(profile.steps.duration[steady].sum())
    return float(waited[steady].sum()) / total if total > 0 else 0.0


@rule(
    "Dataloader",
    group="loading",
    differs="Too few workers are only an issue if steps also wait for data (max_wait_share); if waiting wasn't timed, "
    "as in SageMaker's own data, the recommended range decides alone. AWS's range by itself flags every run on a small "
    "machine and every run on cached data. Pinned memory is only advised with CUDA.",
)
def dataloader(
    profile: Profile, *, min_threshold: float = 70.0, max_threshold: float = 200.0, max_wait_share: float = 0.1
) -> Finding:
    """Too few or too many DataLoader workers for the number of cores."""
    workers, cores = profile.loader.workers, sum(profile.job.cores.values())
    if workers is None or not cores:
        return no_data("the number of loader workers or of cores isn't known")
    counted = max(1, workers)  # as AWS counts: without workers, the main process loads
    percent = 100.0 * counted / cores
    waiting = wait_share(profile)
    pin: dict[str, Any] = {}
    pin_advice = ""
    if profile.job.uses_cuda and profile.loader.pin_memory is False:
        pin = {"pin_memory": True}
        pin_advice = " Use pin_memory=True, so that copies to the GPU overlap with computation."
    as_one = "counted as one, " if workers == 0 else ""
    evidence = f"{count(workers, 'worker')} for {count(cores, 'core')} ({as_one}{percent:.0f}%)"
    evidence += "" if waiting is None else f", and steps waited for data {share(waiting)} of the time"
    details = {"workers": workers, "cores": cores, "percent": percent, "wait_share": waiting}
    waits = waiting is None or waiting > max_wait_share
    if (percent < min_threshold and waits) or (workers == 0 and waiting is not None and waits):
        recommended = max(1, round(cores * 0.9)) if cores > 2 else cores
        return issue(
            f"{evidence}; the recommended range is {min_threshold:g}% to {max_threshold:g}%",
            f"Raise the number of workers, for instance to {recommended}.{pin_advice}",
            datapoints=1,
            changes={"workers": recommended, **pin},
            details=details,
        )
    if percent > max_threshold:
        return issue(
            f"{evidence}; the recommended range is {min_threshold:g}% to {max_threshold:g}%",
            f"Lower the number of workers to {cores}: more than that compete for the cores.{pin_advice}",
            datapoints=1,
            changes={"workers": cores},
            details=details,
        )
    if percent < min_threshold:
        evidence += f": below the recommended {min_threshold:g}% to {max_threshold:g}%, but steps didn't wait for data"
    return ok(evidence, advice=pin_advice.strip(), datapoints=1, details=details)


@rule("SlowReader", group="loading")
def slow_reader(
    profile: Profile, *, max_read_seconds: float = 0.01, max_share: float = 0.5, max_wait_share: float = 0.1
) -> Finding:
    """Slow storage: reading an image takes longer than decoding it."""
    loader = profile.loader
    if loader.read_seconds is None:
        return no_data("reading images wasn't timed")
    whole = loader.read_seconds + (loader.decode_seconds or 0.0) + (loader.transform_seconds or 0.0)
    read_share = loader.read_seconds / whole if whole else 0.0
    waiting = wait_share(profile)
    evidence = f"an image took {seconds(loader.read_seconds)} to read, {share(read_share)} of the time to load it"
    evidence += "" if waiting is None else f"; steps waited for data {share(waiting)} of the time"
    if (
        loader.read_seconds > max_read_seconds
        and read_share > max_share
        and (waiting is None or waiting > max_wait_share)
    ):
        return issue(
            evidence,
            "Copy the images to a local disk, pack many small files into a few large ones, or keep the feature cache "
            "enabled, which reads each image once. More workers hide latency, but not a lack of bandwidth.",
            datapoints=loader.images_measured or 1,
            changes={"workers": max(2, sum(profile.job.cores.values()))},
        )
    return ok(evidence, datapoints=loader.images_measured or 1)


@rule("SlowTransform", group="loading")
def slow_transform(profile: Profile, *, max_share: float = 0.5, max_wait_share: float = 0.1) -> Finding:
    """Steps wait for images to be decoded and transformed on the CPU."""
    loader = profile.loader
    if loader.decode_seconds is None and loader.transform_seconds is None:
        return no_data("decoding images wasn't timed")
    prepare = (loader.decode_seconds or 0.0) + (loader.transform_seconds or 0.0)
    whole = prepare + (loader.read_seconds or 0.0)
    read_share = prepare / whole if whole else 0.0
    waiting = wait_share(profile)
    if waiting is None:
        return no_data("the time that steps wait for data wasn't timed")
    evidence = (
        f"an image took {seconds(prepare)} to decode and transform, {share(read_share)} of the time to load it; "
        f"steps waited for data {share(waiting)} of the time"
    )
    if read_share > max_share and waiting > max_wait_share:
        return issue(
            evidence,
            "Decode directly to a smaller size, remove unneeded transforms, use more workers if cores are idle, or "
            "keep the feature cache enabled, which decodes each image once.",
            datapoints=loader.images_measured or 1,
            changes={"workers": max(1, sum(profile.job.cores.values()))},
        )
    return ok(evidence, datapoints=loader.images_measured or 1)
