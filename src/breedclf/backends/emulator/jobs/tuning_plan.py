"""Converts a tuning job's request: its search space, plan, completion criteria, and its children's requests; pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Literal, NoReturn, cast

from breedclf.backends.emulator.protocol import ServiceError
from breedclf.errors import ConfigError
from breedclf.tuning.space import MAX_PARAMETERS, Categorical, Continuous, Integer, Parameter, Values
from breedclf.tuning.stopping import Completion
from breedclf.tuning.strategies import Plan, Strategy, grid_size
from breedclf.tuning.trials import Direction

OBJECTIVE_PARAMETER = "_tuning_objective_metric"
_FLEXIBLE = "HyperParameterTuningResourceConfig"
_NOT_OF_CHILDREN = ("StaticHyperParameters", "TuningObjective", "DefinitionName", "RetryStrategy", _FLEXIBLE)
_STRATEGIES: dict[str, Strategy] = {"Grid": "grid", "Random": "random", "Bayesian": "bayesian"}
_SCALINGS = {"Auto": "linear", "Linear": "linear", "Logarithmic": "log"}
# AWS's default quotas, from "Resource Limits for Automatic Model Tuning" in SageMaker's developer guide; the number of
# parallel training jobs can be raised to 100 on request.
_MAX_PARALLEL, _MAX_JOBS, _MAX_VALUES, MAX_RUNNING = 10, 750, 30, 100


def plan_of(request: Mapping[str, Any]) -> Plan:
    """The search of a request.

    Raises:
        ServiceError: a documented rule is broken, or a feature isn't emulated.
    """
    config = request["HyperParameterTuningJobConfig"]
    strategy = config["Strategy"]
    if strategy not in _STRATEGIES:
        refuse(f"Strategy {strategy} isn't emulated by breedclf's emulator; use Bayesian, Random or Grid.")
    for name in ("Autotune", "WarmStartConfig", "TrainingJobDefinitions"):
        if name in request:
            refuse(f"{name} isn't emulated by breedclf's emulator.")
    definition = request.get("TrainingJobDefinition")
    if definition is None:
        refuse("TrainingJobDefinition must be given.")
    if "HyperParameterRanges" in definition:
        refuse("Ranges in TrainingJobDefinition aren't emulated by breedclf's emulator; give ParameterRanges.")
    space = space_of(config.get("ParameterRanges", {}))
    _check_names(space, definition)
    objective = _objective(config, definition)
    limits = config["ResourceLimits"]
    plan = Plan(
        space=space,
        strategy=_STRATEGIES[strategy],
        seed=config.get("RandomSeed", _seed_of(request["HyperParameterTuningJobName"])),
        max_parallel=limits["MaxParallelTrainingJobs"],
        direction=cast(Direction, f"{objective['Type'].lower()}"),
    )
    _check_count(plan, limits)
    return plan


def space_of(ranges: Mapping[str, Any]) -> dict[str, Parameter]:
    """The parameters in the order categorical, continuous, integer; categorical values remain text.

    Raises:
        ServiceError: a range is empty or invalid, or isn't emulated.

    Example:
        >>> space_of({"IntegerParameterRanges": [{"Name": "epochs", "MinValue": "1", "MaxValue": "4"}]})["epochs"].high
        4
    """
    if ranges.get("AutoParameters"):
        refuse("AutoParameters aren't emulated by breedclf's emulator.")
    space: dict[str, Parameter] = {}
    try:
        for each in ranges.get("CategoricalParameterRanges", ()):
            if len(each["Values"]) > _MAX_VALUES:
                refuse(f"{each['Name']} has {len(each['Values'])} values; {_MAX_VALUES} are the most that are allowed.")
            _put(space, each["Name"], Categorical(*each["Values"]))
        for each in ranges.get("ContinuousParameterRanges", ()):
            _put(space, each["Name"], Continuous(float(each["MinValue"]), float(each["MaxValue"]), _scaling(each)))
        for each in ranges.get("IntegerParameterRanges", ()):
            _put(space, each["Name"], Integer(int(each["MinValue"]), int(each["MaxValue"]), _scaling(each)))
    except ConfigError as error:
        refuse(f"Invalid ParameterRanges: {error}")
    except ValueError as error:
        refuse(f"Invalid ParameterRanges: a MinValue or MaxValue isn't a number: {error}")
    if not space:
        refuse("At least one hyperparameter range must be given in ParameterRanges.")
    if len(space) > MAX_PARAMETERS:
        refuse(f"{len(space)} hyperparameter ranges are more than the {MAX_PARAMETERS} that a tuning job takes.")
    return space


def max_jobs_of(request: Mapping[str, Any], plan: Plan) -> int:
    """The largest number of training jobs."""
    limits = request["HyperParameterTuningJobConfig"]["ResourceLimits"]
    most = limits.get("MaxNumberOfTrainingJobs")
    if most is not None:
        return int(most)
    return grid_size(plan.space) if plan.strategy == "grid" else _MAX_JOBS


def completion_of(request: Mapping[str, Any]) -> Completion:
    """The criteria that end the tuning job early.

    Raises:
        ServiceError: a criterion isn't emulated.
    """
    config = request["HyperParameterTuningJobConfig"]
    criteria = config.get("TuningJobCompletionCriteria", {})
    if "ConvergenceDetected" in criteria:
        refuse("ConvergenceDetected isn't emulated by breedclf's emulator; use another completion criterion.")
    return Completion(
        target=criteria.get("TargetObjectiveMetricValue"),
        not_improving=criteria.get("BestObjectiveNotImproving", {}).get("MaxNumberOfTrainingJobsNotImproving"),
        max_seconds=config["ResourceLimits"].get("MaxRuntimeInSeconds"),
    )


def objective_of(request: Mapping[str, Any]) -> dict[str, str]:
    """The objective: its Type and its MetricName."""
    found: dict[str, str] = request["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]
    return found


def child_request(request: Mapping[str, Any], name: str, values: Values, tags: Mapping[str, str]) -> dict[str, Any]:
    """The CreateTrainingJob request of a child: the definition, the tuned values and the objective's name."""
    definition = request["TrainingJobDefinition"]
    inherited = {key: value for key, value in definition.items() if key not in _NOT_OF_CHILDREN}
    pairs = dict(definition.get("StaticHyperParameters", {}))
    pairs |= tuned(values) | {OBJECTIVE_PARAMETER: objective_of(request)["MetricName"]}
    child = {**inherited, "ResourceConfig": resources_of(definition), "TrainingJobName": name, "HyperParameters": pairs}
    return child | ({"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]} if tags else {})


def resources_of(definition: Mapping[str, Any]) -> dict[str, Any]:
    """A child's ResourceConfig; of several, the first, which AWS also tries first."""
    if (flexible := definition.get(_FLEXIBLE)) is None:
        return dict(definition["ResourceConfig"])
    preferred: Mapping[str, Any] = flexible.get("InstanceConfigs", [flexible])[0]
    names = ("InstanceType", "InstanceCount", "VolumeSizeInGB")
    found = {name: preferred[name] for name in names if name in preferred}
    return found | ({"VolumeKmsKeyId": flexible["VolumeKmsKeyId"]} if "VolumeKmsKeyId" in flexible else {})


def tuned(values: Values) -> dict[str, str]:
    """The tuned values as text, for a training job's hyperparameters."""
    return {name: value if isinstance(value, str) else repr(value) for name, value in values.items()}


def child_name(tuning_job: str, index: int) -> str:
    """A child's name, which is the same after a restart."""
    digest = hashlib.sha256(f"{tuning_job}:{index}".encode()).hexdigest()[:8]
    return f"{tuning_job}-{index + 1:03d}-{digest}"


def refuse(message: str) -> NoReturn:
    """Refuse the request."""
    raise ServiceError("ValidationException", message)


def _put(space: dict[str, Parameter], name: str, parameter: Parameter) -> None:
    if name in space:
        refuse(f"The hyperparameter {name} has more than one range.")
    space[name] = parameter


def _scaling(each: Mapping[str, str]) -> Literal["linear", "log"]:
    word = each.get("ScalingType", "Auto")
    if word not in _SCALINGS:
        refuse(f"ScalingType {word} isn't emulated by breedclf's emulator; use Linear or Logarithmic.")
    return cast(Literal["linear", "log"], _SCALINGS[word])


def _check_names(space: Mapping[str, Parameter], definition: Mapping[str, Any]) -> None:
    both = sorted(set(space) & set(definition.get("StaticHyperParameters", {})))
    if both:
        refuse(f"The hyperparameters {both} are both static and tunable; give each once.")


def _objective(config: Mapping[str, Any], definition: Mapping[str, Any]) -> dict[str, str]:
    objective: dict[str, str] | None = config.get("HyperParameterTuningJobObjective")
    if objective is None:
        refuse("HyperParameterTuningJobObjective must be given.")
    metrics = [each["Name"] for each in definition["AlgorithmSpecification"].get("MetricDefinitions", ())]
    if objective["MetricName"] not in metrics:
        refuse(
            f"The objective metric for the hyperparameter tuning job, [{objective['MetricName']}], isn't valid for the "
            f"[custom] algorithm. Choose a valid objective metric: {metrics}"
        )
    return objective


def _check_count(plan: Plan, limits: Mapping[str, Any]) -> None:
    most = limits.get("MaxNumberOfTrainingJobs")
    total = most or 0
    if plan.strategy == "grid":
        try:
            total = grid_size(plan.space)
        except ConfigError:
            refuse("Grid search takes categorical parameters only.")
        if most not in (None, total):
            refuse(
                f"MaxNumberOfTrainingJobs {most} must be omitted or be the number of the grid's combinations, {total}."
            )
    if most is not None and plan.max_parallel > most:
        refuse(f"MaxParallelTrainingJobs {plan.max_parallel} can't be more than MaxNumberOfTrainingJobs {most}.")
    require_quota("parallel training jobs per hyperparameter tuning job", _MAX_PARALLEL, 0, plan.max_parallel)
    require_quota("training jobs per hyperparameter tuning job", _MAX_JOBS, 0, total)


def require_quota(resource: str, limit: int, used: int, requested: int) -> None:
    """Check one of the account's quotas.

    Raises:
        ServiceError: it is exceeded.
    """
    if used + requested > limit:
        raise ServiceError(
            "ResourceLimitExceeded",
            f"The account-level service limit 'Number of {resource}' is {limit} Jobs, with current utilization of "
            f"{used} Jobs and a request delta of {requested} Jobs. Please use AWS Service Quotas to request an "
            "increase for this quota.",
        )


def _seed_of(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") % 2**31
