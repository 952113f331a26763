"""The request of a tuning job from a search, and the search from a tuning job's description; pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from breedclf.backends.sagemaker.tags import PURPOSE_TAG
from breedclf.config import TrainingConfig
from breedclf.config.aliases import SETTINGS
from breedclf.errors import ConfigError
from breedclf.jobs import MODEL_CHANNEL
from breedclf.tuning.native import NativeSearch, value_texts
from breedclf.tuning.network_weights import WEIGHTS_PAIR, received_by_job
from breedclf.tuning.search_request import SearchRequest
from breedclf.tuning.space import MAX_CATEGORIES, Categorical, Continuous, Integer, Parameter, is_number
from breedclf.tuning.stopping import Completion
from breedclf.tuning.strategies import Strategy

_STRATEGIES: dict[Strategy, str] = {"grid": "Grid", "random": "Random", "bayesian": "Bayesian"}
_SCALINGS = {"linear": "Linear", "log": "Logarithmic"}
_OBJECTIVE_TYPES = {"minimize": "Minimize", "maximize": "Maximize"}
_RESERVED = ("sagemaker_", "_tuning_")
_BEST = "best_"
_MIN_SECONDS, _MAX_SECONDS = 120, 15_768_000
_LEAST_NOT_IMPROVING = 3
_MAX_SEED = 2**31 - 1
STARTED_TAG = "breedclf-started"
_DEFINITION_KEYS = (
    "RoleArn",
    "InputDataConfig",
    "VpcConfig",
    "OutputDataConfig",
    "ResourceConfig",
    "StoppingCondition",
    "EnableNetworkIsolation",
    "EnableInterContainerTrafficEncryption",
    "EnableManagedSpotTraining",
    "CheckpointConfig",
    "RetryStrategy",
    "Environment",
)
_ALGORITHM_KEYS = ("TrainingImage", "TrainingInputMode", "MetricDefinitions")


def tuning_request(search: NativeSearch, training: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of CreateHyperParameterTuningJob; `training` is the CreateTrainingJob request of the search's job.

    Hyperparameters that all trials share become static ones. Debugger and profiler settings are dropped, since tuning
    jobs don't support them.

    Raises:
        ConfigError: tuning jobs don't support the search.
    """
    request = search.request
    metrics = {each["Name"] for each in training["AlgorithmSpecification"].get("MetricDefinitions", ())}
    if search.metric not in metrics:
        raise ConfigError(f"the job doesn't define the objective metric {search.metric}; it has {metrics}")
    definition: dict[str, Any] = {
        "StaticHyperParameters": {
            name: value for name, value in training["HyperParameters"].items() if name not in request.space
        },
        "AlgorithmSpecification": _only(training["AlgorithmSpecification"], _ALGORITHM_KEYS),
        **_only(training, _DEFINITION_KEYS),
    }
    return {
        "HyperParameterTuningJobName": request.name,
        "HyperParameterTuningJobConfig": tuning_config(search),
        "TrainingJobDefinition": definition,
        "Tags": [
            *({**tag, "Value": "tuning"} if tag["Key"] == PURPOSE_TAG else dict(tag) for tag in training["Tags"]),
            *({"Key": key, "Value": value} for key, value in started_tag(search).items()),
        ],
    }


def started_tag(search: NativeSearch) -> dict[str, str]:
    """The tag that distinguishes searches of the same name: the time at which the search was saved."""
    return {STARTED_TAG: f"{search.since:.6f}"} if search.since else {}


def tuning_config(search: NativeSearch) -> dict[str, Any]:
    """Strategy, objective, ranges, limits, early stopping, seed and completion criteria.

    Raises:
        ConfigError: tuning jobs don't support the search.
    """
    request = search.request
    if request.seed > _MAX_SEED:
        raise ConfigError(f"seed={request.seed}: a tuning job on SageMaker takes at most {_MAX_SEED}")
    config: dict[str, Any] = {
        "Strategy": _STRATEGIES[request.strategy],
        "HyperParameterTuningJobObjective": {
            "Type": _OBJECTIVE_TYPES[request.direction],
            "MetricName": search.metric,
        },
        "ResourceLimits": _limits(request),
        "ParameterRanges": _ranges(search.space, request.config),
        "TrainingJobEarlyStoppingType": "Auto" if request.early_stopping else "Off",
    }
    if request.strategy != "grid":
        config["RandomSeed"] = request.seed
    if criteria := _criteria(request):
        config["TuningJobCompletionCriteria"] = criteria
    return config


def search_request(name: str, described: Mapping[str, Any]) -> SearchRequest:
    """The search request of an existing tuning job, from its description.

    A grid's ranges are returned as lists of values.

    Raises:
        ConfigError: breedclf didn't create it.
    """
    config, definition = described["HyperParameterTuningJobConfig"], described.get("TrainingJobDefinition")
    objective = config.get("HyperParameterTuningJobObjective", {}).get("MetricName", "")
    if definition is None or not objective.startswith(_BEST) or "ParameterRanges" not in config:
        raise ConfigError(f"tuning job {name!r} was not created by breedclf, so its trials can't be interpreted")
    space = _space(config["ParameterRanges"])
    shared = definition.get("StaticHyperParameters", {})
    pairs = {key: value for key, value in shared.items() if not key.startswith(_RESERVED)}
    channels = {each["ChannelName"]: _channel_uri(each) for each in definition.get("InputDataConfig", ())}
    weights = received_by_job(pairs.pop(WEIGHTS_PAIR, {}), channels)
    settings = {"weights": "weights", MODEL_CHANNEL: "start_from"}
    paths = {"data": Path(channels.get("training", "."))} | {
        setting: channels[name] for name, setting in settings.items() if name in channels
    }
    limits, criteria = config["ResourceLimits"], config.get("TuningJobCompletionCriteria", {})
    strategies: dict[str, Strategy] = {service: own for own, service in _STRATEGIES.items()}
    strategy = strategies.get(config["Strategy"])
    if strategy is None:
        raise ConfigError(f"tuning job {name!r} has strategy {config['Strategy']}, which breedclf doesn't support")
    return SearchRequest(
        name=name,
        config=TrainingConfig.from_hyperparameters(pairs, **paths),
        weights=weights,
        space=space,
        objective=objective.removeprefix(_BEST),
        strategy=strategy,
        max_jobs=limits.get("MaxNumberOfTrainingJobs"),
        max_parallel_jobs=limits["MaxParallelTrainingJobs"],
        early_stopping=config.get("TrainingJobEarlyStoppingType") == "Auto",
        seed=config.get("RandomSeed", 0),
        completion=Completion(
            target=criteria.get("TargetObjectiveMetricValue"),
            not_improving=criteria.get("BestObjectiveNotImproving", {}).get("MaxNumberOfTrainingJobsNotImproving"),
            max_seconds=limits.get("MaxRuntimeInSeconds"),
        ),
        max_seconds_per_job=definition["StoppingCondition"].get("MaxRuntimeInSeconds"),
    )


def _only(values: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: values[name] for name in names if name in values}


def _limits(request: SearchRequest) -> dict[str, Any]:
    limits: dict[str, Any] = {
        "MaxNumberOfTrainingJobs": request.job_count,
        "MaxParallelTrainingJobs": request.max_parallel_jobs,
    }
    longest = request.completion.max_seconds
    if longest is not None:
        if not _MIN_SECONDS <= longest <= _MAX_SECONDS:
            raise ConfigError(
                f"max_seconds={longest:g}: a tuning job on SageMaker runs from {_MIN_SECONDS} to {_MAX_SECONDS} seconds"
            )
        limits["MaxRuntimeInSeconds"] = round(longest)
    return limits


def _criteria(request: SearchRequest) -> dict[str, Any]:
    criteria: dict[str, Any] = {}
    if request.completion.target is not None:
        criteria["TargetObjectiveMetricValue"] = request.completion.target
    if (count := request.completion.not_improving) is not None:
        if count < _LEAST_NOT_IMPROVING:
            raise ConfigError(f"not_improving={count}: a tuning job on SageMaker needs at least {_LEAST_NOT_IMPROVING}")
        criteria["BestObjectiveNotImproving"] = {"MaxNumberOfTrainingJobsNotImproving": count}
    return criteria


def _ranges(space: Mapping[str, Parameter], config: TrainingConfig) -> dict[str, list[dict[str, Any]]]:
    ranges: dict[str, list[dict[str, Any]]] = {
        "CategoricalParameterRanges": [],
        "ContinuousParameterRanges": [],
        "IntegerParameterRanges": [],
    }
    for name, parameter in space.items():
        if isinstance(parameter, Categorical):
            ranges["CategoricalParameterRanges"].append(
                {"Name": name, "Values": value_texts(config, name, parameter.values)}
            )
            continue
        kind = "IntegerParameterRanges" if isinstance(parameter, Integer) else "ContinuousParameterRanges"
        ranges[kind].append(
            {
                "Name": name,
                "MinValue": str(parameter.low),
                "MaxValue": str(parameter.high),
                "ScalingType": _SCALINGS[parameter.scaling],
            }
        )
    return {kind: found for kind, found in ranges.items() if found}


def _space(ranges: Mapping[str, Any]) -> dict[str, Parameter]:
    scalings = {service: own for own, service in _SCALINGS.items()}
    space: dict[str, Parameter] = {}
    for each in ranges.get("CategoricalParameterRanges", ()):
        values = [text.strip('"') for text in each["Values"]]
        name = SETTINGS.get(each["Name"], each["Name"])
        space[name] = Categorical(*(_read_choice(name, text) for text in values[:MAX_CATEGORIES]))
    for each in ranges.get("ContinuousParameterRanges", ()):
        scaling = scalings.get(each.get("ScalingType", "Linear"), "linear")
        space[each["Name"]] = Continuous(float(each["MinValue"]), float(each["MaxValue"]), scaling)
    for each in ranges.get("IntegerParameterRanges", ()):
        scaling = scalings.get(each.get("ScalingType", "Linear"), "linear")
        space[each["Name"]] = Integer(int(each["MinValue"]), int(each["MaxValue"]), scaling)
    return space


def _read_choice(name: str, text: str) -> bool | int | float | str:
    """A categorical value, converted to the type of its setting."""
    field = TrainingConfig.model_fields.get(name)
    if field is None:
        raise ConfigError(f"the tuning job tunes {name}, which is not a setting of breedclf")
    if field.annotation is bool:
        return text.lower() == "true"
    if not is_number(name):
        return text
    number = float(text)
    return int(number) if number.is_integer() and "." not in text and "e" not in text.lower() else number


def _channel_uri(channel: Mapping[str, Any]) -> str:
    return str(channel["DataSource"].get("S3DataSource", {}).get("S3Uri", "")).rstrip("/")
