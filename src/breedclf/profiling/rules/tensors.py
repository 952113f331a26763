"""Rules about tensor statistics: gradients, weights, activations, inputs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from breedclf.profiling.columns import BoolArray
from breedclf.profiling.profile import Profile, TensorKind, TensorSeries
from breedclf.profiling.rules.finding import AtLeastOne, Finding, issue, no_data, not_applicable, ok, rule

MAX_NAMED = 5  # tensors listed by name; the rest are counted


def _with(profile: Profile, kind: TensorKind | None, measure: str) -> list[TensorSeries]:
    return [t for t in profile.tensors if kind in (None, t.kind) and measure in t.measures and len(t.step)]


def _records_activations(profile: Profile, measure: str) -> bool:
    """Whether activations of these layers would be in the profile: breedclf records them with tensors."""
    recorded = _with(profile, "activation", "mean_abs") or _with(profile, "activation", measure)
    return bool(recorded or (profile.provenance.breedclf and profile.tensors))


def _names(tensors: list[TensorSeries]) -> str:
    shown = ", ".join(f"{t.name} ({t.kind})" if t.kind != "weight" else t.name for t in tensors[:MAX_NAMED])
    return shown + (f" and {len(tensors) - MAX_NAMED} more" if len(tensors) > MAX_NAMED else "")


def _judge(
    tensors: list[TensorSeries],
    is_bad: Callable[[TensorSeries], BoolArray],
    *,
    what: str,
    advice: str,
    at_least: int = 1,
) -> Finding:
    """Report an issue if a tensor was bad in `at_least` snapshots or more."""
    points = sum(len(t.step) for t in tensors)
    bad_counts = {t.name + t.kind: int(is_bad(t).sum()) for t in tensors}
    bad = [t for t in tensors if bad_counts[t.name + t.kind] >= at_least]
    if not bad:
        return ok(f"none of {len(tensors)} tensors {what}, in {points} snapshots", datapoints=points)
    first = min(int(t.step[np.flatnonzero(is_bad(t))[0]]) for t in bad)
    return issue(
        f"{len(bad)} of {len(tensors)} tensors {what}, first at step {first}: {_names(bad)}",
        advice,
        datapoints=points,
        triggers=sum(bad_counts.values()),
        details={"tensors": [t.name for t in bad]},
    )


@rule("VanishingGradient", group="tensors")
def vanishing_gradient(profile: Profile, *, threshold: float = 1e-7) -> Finding:
    """Gradients so small that the weights stop learning."""
    # The gradient of a bias sums over a batch and may be zero by chance if classes are balanced.
    tensors = [t for t in _with(profile, "gradient", "mean_abs") if not t.name.endswith("bias")]
    if not tensors:
        return no_data("no gradients were recorded")
    return _judge(
        tensors,
        lambda t: t.measures["mean_abs"] < threshold,
        what=f"have a mean gradient below {threshold:g}",
        advice="Use normalization layers, ReLU instead of sigmoid or tanh, residual connections, or another initial "
        "scale; in fp16, scale the loss.",
        at_least=2,
    )


@rule("ExplodingTensor", group="tensors")
def exploding_tensor(profile: Profile, *, only_nan: bool = False) -> Finding:
    """Tensors or losses that are not finite."""
    tensors = _with(profile, None, "finite")
    loss = profile.learning.step_loss
    if not tensors and not len(loss):
        return no_data("no tensors and no losses were recorded")
    bad_loss = np.isnan(loss) if only_nan else ~np.isfinite(loss)
    advice = (
        "Lower the learning rate, clip gradients, check the inputs for invalid values; with bf16 or fp16, try fp32."
    )
    if bad_loss.any():
        first = int(profile.learning.step[np.flatnonzero(bad_loss)[0]])
        return issue(
            f"the loss is not finite at {int(bad_loss.sum())} of {len(loss)} steps, first at step {first}",
            advice,
            datapoints=len(loss),
            triggers=int(bad_loss.sum()),
            changes=_lower_rate(profile),
        )
    measure: Callable[[TensorSeries], BoolArray] = lambda t: t.measures["finite"] < 1  # noqa: E731
    if only_nan:
        measure = lambda t: np.isnan(t.measures.get("mean_abs", t.measures["finite"]))  # noqa: E731
    return (
        _judge(tensors, measure, what="have values that are not finite", advice=advice)
        if tensors
        else ok("every loss is finite", datapoints=len(loss))
    )


def _lower_rate(profile: Profile) -> dict[str, float]:
    rate = profile.job.settings.get("learning_rate")
    return {"learning_rate": rate / 10} if isinstance(rate, int | float) else {}


@rule("PoorWeightInitialization", group="tensors")
def poor_weight_initialization(
    profile: Profile,
    *,
    threshold: float = 10.0,
    distribution_range: float = 0.001,
    patience: int = 5,
    steps: AtLeastOne = 10,
) -> Finding:
    """Initial weights whose spread differs widely between layers, or that are nearly constant."""
    tensors = [
        t for t in _with(profile, "weight", "std") if t.detail in ("conv", "linear") and not t.name.endswith("bias")
    ]
    if not tensors:
        return no_data("no weights were recorded")
    early = [t for t in tensors if int(t.step[0]) <= steps]
    if not early:
        return no_data(f"no weights were recorded in the first {steps} steps")
    if len(early) < 2:
        return not_applicable("only one layer is trained: there is nothing to compare its weights with")
    spread = {t.name: float(t.measures["std"][0]) for t in early}
    low, high = min(spread, key=lambda n: spread[n]), max(spread, key=lambda n: spread[n])
    # A layer that starts at zero, such as a new head, does so by design.
    started = {name: value for name, value in spread.items() if value > 0}
    flat = [name for name, value in started.items() if value < distribution_range]
    ratio = max(started.values()) / min(started.values()) if started else 1.0
    evidence = f"the spread of initial weights is {spread[low]:.2g} ({low}) to {spread[high]:.2g} ({high})"
    # AWS's 10 in variance is a factor of 3.2 in spread; layer widths of 64 to 2,048 alone cause 32 in variance.
    del patience  # AWS waits for this many snapshots; initial weights are in the first one only
    fan_in_allowance = 10.0
    if flat or ratio**2 > threshold * fan_in_allowance:
        return issue(
            evidence
            + (
                f"; nearly constant: {', '.join(flat[:MAX_NAMED])}"
                if flat
                else f", a ratio of {ratio**2:.0f} in variance"
            ),
            "Use He or Xavier initialization, or start from pretrained weights.",
            datapoints=len(early),
            triggers=len(flat) or 1,
        )
    return ok(evidence, datapoints=len(early))


@rule("SaturatedActivation", group="tensors")
def saturated_activation(
    profile: Profile,
    *,
    threshold_tanh_min: float = -9.4999,
    threshold_tanh_max: float = 9.4999,
    threshold_sigmoid_min: float = -23.0,
    threshold_sigmoid_max: float = 16.99999,
    threshold_inactivity: float = 1.0,
    threshold_layer: float = 50.0,
) -> Finding:
    """Tanh or sigmoid units whose inputs are where the gradient is zero."""
    del threshold_tanh_min, threshold_tanh_max, threshold_sigmoid_min, threshold_sigmoid_max  # applied when recording
    del threshold_inactivity
    if not _records_activations(profile, "saturated_share"):
        return no_data("no activations were recorded")
    tensors = [t for t in _with(profile, "activation", "saturated_share") if t.detail in ("tanh", "sigmoid")]
    if not tensors:
        return not_applicable("no tanh or sigmoid layer was recorded")
    return _judge(
        tensors,
        lambda t: 100 * t.measures["saturated_share"] > threshold_layer,
        what=f"have more than {threshold_layer:g}% of units saturated",
        advice="Lower the learning rate, normalize the inputs of the layer, or use ReLU.",
        at_least=2,
    )


@rule("DeadRelu", group="tensors")
def dead_relu(profile: Profile, *, threshold_inactivity: float = 1.0, threshold_layer: float = 50.0) -> Finding:
    """ReLU layers with mostly inactive units."""
    if not _records_activations(profile, "inactive_share"):
        return no_data("no activations were recorded")
    tensors = [t for t in _with(profile, "activation", "inactive_share") if t.detail == "relu"]
    if not tensors:
        return not_applicable("no ReLU layer was recorded")
    return _judge(
        tensors,
        lambda t: 100 * t.measures["inactive_share"] > threshold_layer,
        what=(
            f"have more than {threshold_layer:g}% of units active for less than {threshold_inactivity:g}% of the batch"
        ),
        advice="Lower the learning rate, use a leaky ReLU, or start biases slightly above zero.",
        at_least=2,
    )


@rule("WeightUpdateRatio", group="tensors")
def weight_update_ratio(
    profile: Profile,
    *,
    num_steps: AtLeastOne = 1,
    large_threshold: float = 10.0,
    small_threshold: float = 1e-8,
    epsilon: float = 1e-9,
) -> Finding:
    """Weight updates that are too large or too small relative to the weights."""
    del epsilon  # applied when recording
    tensors = _with(profile, "gradient", "update_ratio")
    if not tensors:
        return no_data("no updates were recorded")
    return _judge(
        tensors,
        lambda t: (t.measures["update_ratio"] > large_threshold) | (t.measures["update_ratio"] < small_threshold),
        what=f"are updated by more than {large_threshold:g} or less than {small_threshold:g} of their size",
        advice="Lower the learning rate if updates are large, raise it if they are tiny; check that the layer is meant "
        "to be trained.",
        at_least=max(2, num_steps),
    )


@rule("AllZero", group="tensors")
def all_zero(profile: Profile, *, threshold: float = 100.0) -> Finding:
    """Tensors that consist of zeros."""
    # From smdebug's reductions, the share is only known if it is 0 or 1: enough for 100%, not for other thresholds.
    tensors = [
        t for t in _with(profile, None, "zero_share") if threshold >= 100 or np.isfinite(t.measures["zero_share"]).all()
    ]
    if not tensors:
        return no_data("no tensors were recorded")
    # A head that starts at zero has changed by the second snapshot; a tensor that stays zero is dead.
    return _judge(
        tensors,
        lambda t: 100 * t.measures["zero_share"] >= threshold,
        what=f"are {threshold:g}% zeros",
        advice="Check the initialization, and whether the layer is connected to the loss.",
        at_least=2,
    )


@rule("UnchangedTensor", group="tensors")
def unchanged_tensor(profile: Profile, *, num_steps: AtLeastOne = 3, rtol: float = 1e-5, atol: float = 1e-8) -> Finding:
    """Trained weights that don't change."""
    del atol  # applied when recording
    tensors = _with(profile, "weight", "change")
    if not tensors:
        return no_data("no weights were recorded")
    if max(len(t.step) for t in tensors) <= num_steps:
        return no_data(f"{max(len(t.step) for t in tensors)} snapshots; more than {num_steps} are needed")

    def still(t: TensorSeries) -> BoolArray:
        quiet = t.measures["change"][1:] <= rtol  # the first snapshot has no predecessor
        window = min(num_steps, len(quiet))
        found = np.convolve(quiet, np.ones(window), mode="valid") >= num_steps
        padded: BoolArray = np.concatenate([np.zeros(len(t.step) - len(found), dtype=bool), found])
        return padded

    return _judge(
        tensors,
        still,
        what=f"didn't change over {num_steps} snapshots",
        advice="Check that the optimizer has these weights, that the learning rate isn't zero, and that their layer is "
        "connected to the loss.",
    )


@rule(
    "CheckInputImages",
    group="tensors",
    differs="A mean away from zero is only an issue if the standard deviation isn't near 1 either: dark or bright "
    "images have a mean beyond 0.2 even if normalized correctly, while images in 0 to 1 or 0 to 255 have another "
    "deviation.",
)
def check_input_images(
    profile: Profile,
    *,
    threshold_mean: float = 0.2,
    threshold_samples: AtLeastOne = 500,
    spread_low: float = 0.5,
    spread_high: float = 2.0,
) -> Finding:
    """Input images that aren't normalized."""
    tensors = _with(profile, "input", "mean")
    if not tensors:
        return no_data("no input images were recorded")
    mean = float(np.mean([abs(t.measures["mean"][:threshold_samples].mean()) for t in tensors]))
    stds = [t.measures["std"][:threshold_samples].mean() for t in tensors if "std" in t.measures]
    spread = float(np.mean(stds)) if stds else None
    points = sum(len(t.step) for t in tensors)
    evidence = f"input images have mean {mean:.2f}" + (
        "" if spread is None else f" and standard deviation {spread:.2f}"
    )
    if mean > threshold_mean and (spread is None or not spread_low <= spread <= spread_high):
        return issue(
            evidence,
            "Scale images to 0..1, then subtract the mean and divide by the standard deviation that the weights were "
            "trained with (ImageNet: 0.485, 0.456, 0.406 and 0.229, 0.224, 0.225).",
            datapoints=points,
        )
    return ok(evidence, datapoints=points)
