"""The candidates of a comparison: the settings of each, its backbone, and what computes its features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from breedclf.config import WEIGHTS_NAMES, TrainingConfig, nearest
from breedclf.config.architectures import architecture_name
from breedclf.data.training_data import TrainingData
from breedclf.errors import ConfigError
from breedclf.features.extraction import FeatureExtractor
from breedclf.features.sources import extractor_of
from breedclf.files.paths import StrPath
from breedclf.models.model import build_model
from breedclf.models.weights import PretrainedWeights
from breedclf.runtime.device import Compute
from breedclf.training.run_cache import RunCache


def candidate_configs(
    config: TrainingConfig, candidates: Sequence[str], weights: Mapping[str, StrPath | None]
) -> dict[str, TrainingConfig]:
    """The settings of each candidate, by its name.

    Args:
        config: those that they share; weights that it names apply to all of them.
        candidates: architectures.
        weights: those of single candidates: names or files.

    Raises:
        ConfigError: a name is unknown or given twice, weights are of no candidate, or the settings train more than the
            head, or continue a model.
    """
    names = [_checked_name(name) for name in candidates]
    if not names:
        raise ConfigError("there are no candidates: name at least one, such as resnet50,efficientnet_v2_s")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"candidates {', '.join(twice)}: named twice")
    given = {_checked_name(name): value for name, value in weights.items()}
    if strangers := sorted(given.keys() - set(names)):
        raise ConfigError(f"weights of {strangers[0]}, which isn't a candidate: {nearest(strangers[0], names)}")
    if config.freeze != "head":
        raise ConfigError(
            f"freeze={config.freeze}: backbones are compared by their frozen features, so leave it at head; train the "
            "best one with other settings afterwards"
        )
    if config.start_from is not None:
        raise ConfigError("start_from continues a model, whose backbone is given: leave it out of a comparison")
    shared = config.weights if "weights" in config.model_fields_set else None
    if shared is not None and shared not in WEIGHTS_NAMES and len(names) > 1:
        raise ConfigError(
            f"weights={shared}: a file fits one candidate only; say which, as in --weights {names[0]}={shared}"
        )
    common = config.model_copy(update={"metrics": "none"})  # own metrics aren't used
    return {name: _config_of(common, name, given.get(name, shared), name in given) for name in names}


def _checked_name(name: str) -> str:
    try:
        return str(architecture_name(name))
    except ValueError as error:
        raise ConfigError(str(error).replace("architecture=", "candidate ", 1)) from None


def _config_of(config: TrainingConfig, name: str, weights: StrPath | None, is_given: bool) -> TrainingConfig:
    if weights is None and not is_given:
        return config.replace(architecture=name)
    return config.replace(architecture=name, weights=weights)


@dataclass(frozen=True)
class Candidate:
    """A backbone that takes part in a comparison; `pretrained` is without the weights themselves."""

    config: TrainingConfig
    pretrained: PretrainedWeights
    model_bytes: int
    parameters: int

    @property
    def name(self) -> str:
        """Its architecture."""
        return self.config.architecture


def load_candidate(config: TrainingConfig, data: TrainingData, compute: Compute) -> tuple[Candidate, FeatureExtractor]:
    """Load a candidate's weights; the extractor, which has them, builds the network at the first image.

    Raises:
        ConfigError: there is no such network, or it can't be fine-tuned.
        MissingExtraError: the package of the network or of the engine isn't installed.
        WeightsError: the weights can't be loaded, don't fit, or their license binds and isn't accepted.
    """
    pretrained = RunCache().pretrained(config)
    model = build_model(config, pretrained, classes=len(data.labels), compute=compute)
    network = pretrained.backbone.empty_network(len(data.labels))
    candidate = Candidate(
        config,
        replace(pretrained, state={}),
        sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values()),
        sum(parameter.numel() for parameter in network.parameters()),
    )
    return candidate, extractor_of(config, data, model, compute)
