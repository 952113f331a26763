"""Rules about learning: losses, classes, and stalled training."""

from __future__ import annotations

import numpy as np

from breedclf.profiling.profile import Profile
from breedclf.profiling.rules.finding import AtLeastOne, Finding, issue, no_data, ok, rule
from breedclf.profiling.rules.text import count, seconds, share


@rule(
    "LossNotDecreasing",
    group="learning",
    differs="Compares means over num_steps steps, from the first window to the best later one: single batches vary by "
    "far more than 0.1%.",
)
def loss_not_decreasing(
    profile: Profile, *, num_steps: AtLeastOne = 10, diff_percent: float = 0.1, increase_threshold_percent: float = 5.0
) -> Finding:
    """A training loss that doesn't decrease."""
    loss = profile.learning.step_loss
    if len(loss) < 2 * num_steps:
        loss = profile.learning.train_loss
        if len(loss) < 3:
            return no_data(f"{len(profile.learning.step_loss)} losses; {2 * num_steps} are needed")
        num_steps = 1
    points = len(loss)
    if not np.isfinite(loss).all():
        return no_data("the loss is not a number at some steps: see ExplodingTensor", datapoints=points)
    usable = loss[: points // num_steps * num_steps].reshape(-1, num_steps).mean(axis=1)
    first, last, best = float(usable[0]), float(usable[-1]), float(usable[1:].min())
    fall = 100 * (first - best) / abs(first) if first else 0.0
    rise = 100 * (last - first) / abs(first) if first else 0.0
    evidence = f"the mean loss went from {first:.4g} to {last:.4g}, at best {best:.4g}"
    if rise > increase_threshold_percent:
        return issue(
            f"{evidence}: it rose by {rise:.0f}%",
            "Lower the learning rate; check the labels and the normalization of the images.",
            datapoints=points,
        )
    if fall < diff_percent:
        return issue(
            f"{evidence}: it fell by less than {diff_percent:g}%",
            "Try a learning rate 10 times higher or lower; check that weights are updated (UnchangedTensor) and that "
            "the labels match the images.",
            datapoints=points,
        )
    return ok(evidence, datapoints=points)


@rule(
    "Overfit",
    group="learning",
    differs="The gap only counts in epochs whose validation loss exceeds its best by more than best_margin: "
    "regularized or pretrained networks keep a gap above 0.1 while both losses still fall.",
)
def overfit(
    profile: Profile, *, ratio_threshold: float = 0.1, patience: int = 1, start_step: int = 0, best_margin: float = 0.05
) -> Finding:
    """Validation loss above the training loss, and rising."""
    train, valid = profile.learning.train_loss, profile.learning.valid_loss
    both = min(len(train), len(valid))
    usable_epochs = max(0, both - start_step)
    if usable_epochs < 2:
        from_step = f" from start_step {start_step}" if start_step else ""
        return no_data(
            f"{count(usable_epochs, 'epoch')} with both losses{from_step}; 2 are needed", datapoints=usable_epochs
        )
    train, valid = train[start_step:both], valid[start_step:both]
    gap = (valid - train) / np.maximum(np.abs(train), 1e-12)
    worse = valid > np.minimum.accumulate(valid) * (1 + best_margin)
    bad = (gap > ratio_threshold) & worse
    evidence = f"last epoch: training loss {train[-1]:.4g}, validation loss {valid[-1]:.4g} (best {valid.min():.4g})"
    if bad.sum() > patience - 1 and bad[-1]:
        return issue(
            evidence,
            "Stop earlier (the artifact already holds the best epoch), add images or views, raise weight_decay, or "
            "train fewer layers.",
            datapoints=both,
            triggers=int(bad.sum()),
            changes={"epochs": int(np.argmin(valid)) + 1},
        )
    return ok(evidence, datapoints=both)


@rule("Overtraining", group="learning")
def overtraining(
    profile: Profile, *, patience_train: int = 5, patience_validation: int = 10, delta: float = 0.01
) -> Finding:
    """Training that continues after the losses stopped improving."""
    found = []
    points = 0
    for name, losses, patience in (
        ("training", profile.learning.train_loss, patience_train),
        ("validation", profile.learning.valid_loss, patience_validation),
    ):
        points = max(points, len(losses))
        if len(losses) <= patience:
            continue
        best, since = float(losses[0]), 0
        for value in losses[1:]:
            since = 0 if value < best - delta else since + 1
            best = min(best, float(value)) if since == 0 else best
        if since >= patience:
            found.append(f"the {name} loss has not improved by {delta:g} for {since} epochs")
    if points <= min(patience_train, patience_validation):
        return no_data(f"{count(points, 'epoch')}; more than {patience_train} are needed", datapoints=points)
    if found:
        return issue("; ".join(found), "Train for fewer epochs.", datapoints=points, triggers=len(found))
    return ok(f"the losses improved within their patience, over {points} epochs", datapoints=points)


@rule(
    "ClassImbalance",
    group="learning",
    differs="threshold_misprediction is reported but only matters together with an imbalance: with many classes and "
    "few images, a class with 70% errors is common in a healthy run.",
)
def class_imbalance(
    profile: Profile,
    *,
    threshold_imbalance: float = 10.0,
    threshold_misprediction: float = 0.7,
    samples: AtLeastOne = 500,
) -> Finding:
    """Classes with many times more images than others."""
    del samples  # counts cover the whole dataset, so nothing has to be collected first
    counts, names = profile.learning.class_counts, profile.learning.class_names
    if len(counts) < 2:
        return no_data("the images per class weren't counted")
    most, least = int(np.argmax(counts)), int(np.argmin(counts))
    ratio = counts[most] / max(1, counts[least])
    evidence = _class_sizes(names[most], int(counts[most]), names[least], int(counts[least]), ratio)
    errors = profile.learning.class_errors
    missed = [names[i] for i in np.flatnonzero(errors > threshold_misprediction)] if len(errors) == len(names) else []
    if missed:
        evidence += (
            f"; {count(len(missed), 'class', 'classes')} misclassified more than "
            f"{share(threshold_misprediction)} of the time"
        )
    points = int(counts.sum())
    if ratio > threshold_imbalance:
        return issue(
            evidence,
            "Add images of the rare classes, sample them more often, or weight the loss; compare per-class accuracy.",
            datapoints=points,
            details={"missed": missed},
        )
    return ok(evidence, datapoints=points, details={"missed": missed})


def _class_sizes(largest: str, most: int, smallest: str, least: int, ratio: float) -> str:
    """The size of the largest and the smallest class; a single figure if all classes are of equal size."""
    if most == least:
        return f"all classes have {most:,} training images"
    return f"{largest} has {most:,} training images, {smallest} {least:,}: {ratio:.1f} times as many"


@rule("StalledTraining", group="learning")
def stalled_training(profile: Profile, *, threshold: float = 1800.0) -> Finding:
    """A long time without progress."""
    steps = profile.steps
    if not len(steps):
        if profile.job.seconds > threshold:
            return issue(
                f"no step in {seconds(profile.job.seconds)}",
                "Check the end of the log and the stack traces of the process (py-spy dump --pid).",
                datapoints=0,
            )
        return no_data("no step was timed")
    order = np.argsort(steps.start)
    ends = np.maximum.accumulate((steps.start + steps.duration)[order])
    gaps = np.concatenate([steps.start[order][1:] - ends[:-1], [profile.job.seconds - ends[-1]]])
    longest = max(float(gaps.max()), float(steps.duration.max()))
    evidence = f"the longest time without a finished step was {seconds(longest)}; {seconds(threshold)} is the limit"
    if longest > threshold:
        return issue(
            evidence,
            "Look for a worker that waits for storage or another rank, a full disk, or a deadlock: py-spy dump --pid "
            "shows what the process is doing.",
            datapoints=len(steps),
            triggers=int((gaps > threshold).sum() + (steps.duration > threshold).sum()),
        )
    return ok(evidence, datapoints=len(steps))
