"""Your own code that the settings name, imported and checked before a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from breedclf.config import TrainingConfig
from breedclf.errors import ConfigError
from breedclf.runtime.own_code import fingerprint, load
from breedclf.training.custom.calls import own_call
from breedclf.training.custom.loss import OwnLoss, own_loss
from breedclf.training.custom.metrics import OwnMetrics, own_metrics
from breedclf.training.custom.sampler import Sampler, Shuffle, own_sampler


@dataclass(frozen=True)
class OwnCode:
    """The parts of a run that are your own.

    Args:
        loss: the training loss; None for cross entropy.
        sampler: draws the rows of each epoch.
        metrics: computed on the validation images of each epoch.
        fingerprints: hashes of the code that decides the result, by its role.
    """

    loss: OwnLoss | None = None
    sampler: Sampler = field(default_factory=Shuffle)
    metrics: OwnMetrics = field(default_factory=OwnMetrics)
    fingerprints: Mapping[str, str] = field(default_factory=dict)


def own_code(
    config: TrainingConfig, class_counts: Sequence[int], metrics: Mapping[str, Callable[..., object]] | None = None
) -> OwnCode:
    """Import and check the code that the settings name; `metrics` are further ones by name.

    `class_counts` are the numbers of training images.

    Raises:
        ConfigError: it can't be imported, or doesn't do what a loss, a sampler or a metric does.
        TrainingError: the sampler fails.
    """
    functions: dict[str, Callable[..., object]] = {}
    fingerprints: dict[str, str] = {}
    loss: OwnLoss | None = None
    sampler: Sampler = Shuffle()
    for role, path in config.own_code.items():
        what = f"{role} {path}"
        with own_call(f"importing {path.source}", error=ConfigError, warns=True):
            found = load(path, role)
        match role:
            case "loss":
                loss = own_loss(found, what)
                loss.check(len(class_counts))
            case "sampler":
                sampler = own_sampler(found, what)
                sampler.check(class_counts)
            case _:
                functions[role.removeprefix("metric ")] = found
        if role in ("loss", "sampler"):
            fingerprints[role] = fingerprint(path, role)
    if twice := sorted(functions.keys() & (metrics or {}).keys()):
        raise ConfigError(f"metric {twice[0]} is given twice: by the settings, and as a function; rename one of them")
    return OwnCode(loss, sampler, own_metrics({**functions, **(metrics or {})}), fingerprints)
