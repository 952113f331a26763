"""The SageMaker SDK's own tuner, made from the very request that a tuning job would be started with."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from typing import Any

from breedclf.errors import ConfigError, MissingExtraError

log: logging.Logger = logging.getLogger(__name__)

# The SDK tells Amazon of each of its calls, with the number of the account, unless it is told not to.
_NO_TELEMETRY = {"SchemaVersion": "1.0", "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}}}


def sdk_tuner(request: Mapping[str, Any], *, boto_session: Any, bucket: str, endpoint_url: str | None = None) -> Any:
    """A `sagemaker.train.tuner.HyperparameterTuner` that starts what the request asks for.

    `tuner.tune(job_name=..., wait=False)` starts it. The SDK drops a seed of 0, which a warning tells, and has no field
    for network isolation, an encrypted disk or more than its own settings, which are refused.

    Raises:
        ConfigError: the SDK's tuner can't carry a part of the request.
        MissingExtraError: the SDK isn't installed.
    """
    config, definition = request["HyperParameterTuningJobConfig"], request["TrainingJobDefinition"]
    _check(definition)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what the SDK warns of on import is nobody's concern here
        try:
            from sagemaker.core import shapes
            from sagemaker.core.helper.session_helper import Session
            from sagemaker.train import ModelTrainer
            from sagemaker.train.configs import Compute, Networking
            from sagemaker.train.tuner import HyperparameterTuner
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                'the SageMaker SDK is not installed, whose tuner is asked for: pip install "breedclf[sagemaker]"'
            ) from error
        clients = {} if endpoint_url is None else {"sagemaker_client": _client(boto_session, endpoint_url)}
        session = Session(boto_session=boto_session, default_bucket=bucket, sagemaker_config=_NO_TELEMETRY, **clients)
        resources, vpc = definition["ResourceConfig"], definition.get("VpcConfig")
        trainer = ModelTrainer(
            training_image=definition["AlgorithmSpecification"]["TrainingImage"],
            training_input_mode=definition["AlgorithmSpecification"]["TrainingInputMode"],
            role=definition["RoleArn"],
            sagemaker_session=session,
            hyperparameters=dict(definition["StaticHyperParameters"]),
            input_data_config=[_channel(each, shapes) for each in definition["InputDataConfig"]],
            output_data_config=shapes.OutputDataConfig(**_snake(definition["OutputDataConfig"])),
            compute=Compute(
                instance_type=resources["InstanceType"],
                instance_count=resources["InstanceCount"],
                volume_size_in_gb=resources["VolumeSizeInGB"],
                enable_managed_spot_training=definition.get("EnableManagedSpotTraining", False),
            ),
            stopping_condition=shapes.StoppingCondition(**_snake(definition["StoppingCondition"])),
            environment=dict(definition.get("Environment", {})),
            tags=[shapes.Tag(key=tag["Key"], value=tag["Value"]) for tag in request["Tags"]],
            **(
                {"checkpoint_config": shapes.CheckpointConfig(**_snake(definition["CheckpointConfig"]))}
                if "CheckpointConfig" in definition
                else {}
            ),
            **(
                {"networking": Networking(subnets=vpc["Subnets"], security_group_ids=vpc["SecurityGroupIds"])}
                if vpc
                else {}
            ),
        )
        limits, objective = config["ResourceLimits"], config["HyperParameterTuningJobObjective"]
        return HyperparameterTuner(
            trainer,
            objective["MetricName"],
            _ranges(config["ParameterRanges"]),
            metric_definitions=definition["AlgorithmSpecification"]["MetricDefinitions"],
            strategy=config["Strategy"],
            objective_type=objective["Type"],
            max_jobs=limits.get("MaxNumberOfTrainingJobs"),
            max_parallel_jobs=limits["MaxParallelTrainingJobs"],
            max_runtime_in_seconds=limits.get("MaxRuntimeInSeconds"),
            tags=request["Tags"],
            completion_criteria_config=_criteria(config.get("TuningJobCompletionCriteria"), shapes),
            early_stopping_type=config["TrainingJobEarlyStoppingType"],
            random_seed=_seed(config),
        )


def _check(definition: Mapping[str, Any]) -> None:
    lost = []
    if definition.get("EnableNetworkIsolation"):
        lost.append("network_isolation")
    if "VolumeKmsKeyId" in definition["ResourceConfig"]:
        lost.append("volume_kms_key")
    if lost:
        raise ConfigError(
            f"the SageMaker SDK's tuner would leave out {', '.join(lost)}: run the search with TuningJob.run(), or "
            "without these settings"
        )


def _seed(config: Mapping[str, Any]) -> int | None:
    seed: int | None = config.get("RandomSeed")
    if seed == 0:
        log.warning("the SageMaker SDK's tuner drops a seed of 0: give another one for trials that repeat")
    return seed


def _client(boto_session: Any, endpoint_url: str) -> Any:
    return boto_session.client("sagemaker", endpoint_url=endpoint_url)


def _ranges(ranges: Mapping[str, Any]) -> dict[str, Any]:
    from sagemaker.core.parameter import CategoricalParameter, ContinuousParameter, IntegerParameter

    found: dict[str, Any] = {}
    for each in ranges.get("CategoricalParameterRanges", ()):
        found[each["Name"]] = CategoricalParameter(list(each["Values"]))
    for each in ranges.get("ContinuousParameterRanges", ()):
        found[each["Name"]] = ContinuousParameter(
            float(each["MinValue"]), float(each["MaxValue"]), scaling_type=each["ScalingType"]
        )
    for each in ranges.get("IntegerParameterRanges", ()):
        found[each["Name"]] = IntegerParameter(
            int(each["MinValue"]), int(each["MaxValue"]), scaling_type=each["ScalingType"]
        )
    return found


def _channel(channel: Mapping[str, Any], shapes: Any) -> Any:
    source = shapes.S3DataSource(**_snake(channel["DataSource"]["S3DataSource"]))
    return shapes.Channel(
        channel_name=channel["ChannelName"],
        data_source=shapes.DataSource(s3_data_source=source),
        input_mode=channel["InputMode"],
    )


def _criteria(criteria: Mapping[str, Any] | None, shapes: Any) -> Any:
    if not criteria:
        return None
    fields: dict[str, Any] = {}
    if "TargetObjectiveMetricValue" in criteria:
        fields["target_objective_metric_value"] = criteria["TargetObjectiveMetricValue"]
    if "BestObjectiveNotImproving" in criteria:
        count = criteria["BestObjectiveNotImproving"]["MaxNumberOfTrainingJobsNotImproving"]
        fields["best_objective_not_improving"] = shapes.BestObjectiveNotImproving(
            max_number_of_training_jobs_not_improving=count
        )
    return shapes.TuningJobCompletionCriteria(**fields)


def _snake(values: Mapping[str, Any]) -> dict[str, Any]:
    """The SDK's spelling of a flat structure's names: S3OutputPath is s3_output_path."""
    return {_SPELLINGS[name]: value for name, value in values.items()}


_SPELLINGS = {
    "S3OutputPath": "s3_output_path",
    "KmsKeyId": "kms_key_id",
    "MaxRuntimeInSeconds": "max_runtime_in_seconds",
    "MaxWaitTimeInSeconds": "max_wait_time_in_seconds",
    "S3Uri": "s3_uri",
    "S3DataType": "s3_data_type",
    "S3DataDistributionType": "s3_data_distribution_type",
    "LocalPath": "local_path",
}
