"""The SageMaker SDK's tuner, built from the request of a tuning job."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from breedclf.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    import boto3
    from sagemaker.train.tuner import HyperparameterTuner

log: logging.Logger = logging.getLogger(__name__)

# Opt out of the SDK's telemetry, which reports each call with the account number to Amazon.
_NO_TELEMETRY = {"SchemaVersion": "1.0", "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}}}


def sdk_tuner(
    request: Mapping[str, Any], *, boto_session: boto3.Session, bucket: str, endpoint_url: str | None = None
) -> HyperparameterTuner:
    """A `sagemaker.train.tuner.HyperparameterTuner` for the same tuning job; `tune(job_name=...)` starts it.

    The SDK ignores a seed of 0, which is logged as a warning, and doesn't support network isolation or an encrypted
    disk, which are errors.

    Raises:
        ConfigError: the SDK's tuner doesn't support a part of the request.
        MissingExtraError: the SDK isn't installed.
    """
    config, definition = request["HyperParameterTuningJobConfig"], request["TrainingJobDefinition"]
    _check(definition)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the SDK's own warnings on import
        try:
            from sagemaker.core import shapes
            from sagemaker.core.helper.session_helper import Session
            from sagemaker.train import ModelTrainer
            from sagemaker.train.configs import Compute, Networking
            from sagemaker.train.tuner import HyperparameterTuner
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                'to_sagemaker() needs the SageMaker SDK, which is not installed: pip install "breedclf[sagemaker]"'
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
    unsupported = []
    if definition.get("EnableNetworkIsolation"):
        unsupported.append("network_isolation")
    if "VolumeKmsKeyId" in definition["ResourceConfig"]:
        unsupported.append("volume_kms_key")
    if unsupported:
        raise ConfigError(
            f"the SageMaker SDK's tuner doesn't support {', '.join(unsupported)}: run the search with TuningJob.run(), "
            "or remove these settings"
        )


def _seed(config: Mapping[str, Any]) -> int | None:
    seed: int | None = config.get("RandomSeed")
    if seed == 0:
        log.warning("the SageMaker SDK's tuner ignores a seed of 0: use another seed for reproducible trials")
    return seed


def _client(boto_session: boto3.Session, endpoint_url: str) -> Any:
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
    """A flat structure with the SDK's names: S3OutputPath becomes s3_output_path."""
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
