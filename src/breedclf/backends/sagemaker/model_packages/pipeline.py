"""A search as a SageMaker pipeline: tune, compare the best objective with a minimum, register the best model.

Source: "SageMaker pipeline definition JSON schema", version 2020-12-01, and the requests that version 3 of the
SageMaker SDK writes for the same steps. A step's arguments are the request of the operation that it calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from breedclf.backends.sagemaker.context import AwsContext
from breedclf.backends.sagemaker.endpoints.preparation import EndpointRequests
from breedclf.backends.sagemaker.endpoints.request import model_request
from breedclf.backends.sagemaker.model_packages.request import CONTENT_TYPES, group_for
from breedclf.backends.sagemaker.training.preparation import TrainingRequests
from breedclf.backends.sagemaker.tuning.jobs import TuningJobs
from breedclf.backends.sagemaker.tuning.request import tuning_request
from breedclf.errors import ConfigError
from breedclf.tuning.native import NativeSearch

VERSION = "2020-12-01"
TUNE, CHECK, REGISTER, REFUSE = "Tune", "CheckObjective", "RegisterBest", "Refuse"
_BEST = f"Steps.{TUNE}.BestTrainingJob"


def pipeline_definition(
    tuning: Mapping[str, Any], container: Mapping[str, Any], group: str, *, minimum: float | None = None
) -> dict[str, Any]:
    """The definition of a pipeline.

    Args:
        tuning: the parameters of CreateHyperParameterTuningJob.
        container: the serving container, without its model.
        group: of the model package.
        minimum: the best objective must be at least this for the model to be registered; None for no condition.

    Raises:
        ConfigError: there is a minimum, but the search minimizes its objective.
    """
    arguments = {name: value for name, value in tuning.items() if name != "HyperParameterTuningJobName"}
    register = _register(str(tuning["TrainingJobDefinition"]["OutputDataConfig"]["S3OutputPath"]), container, group)
    steps: list[dict[str, Any]] = [{"Name": TUNE, "Type": "Tuning", "Arguments": arguments}]
    steps.append(register if minimum is None else _condition(tuning, register, minimum))
    return {"Version": VERSION, "Metadata": {}, "Parameters": [], "Steps": steps}


def _register(output_uri: str, container: Mapping[str, Any], group: str) -> dict[str, Any]:
    model_uri = _joined(output_uri.rstrip("/"), {"Get": f"{_BEST}.TrainingJobName"}, "output/model.tar.gz")
    arguments = {
        "ModelPackageGroupName": group,
        "ModelPackageDescription": "The best model of a search by breedclf",
        "InferenceSpecification": {
            "Containers": [{**container, "ModelDataUrl": model_uri}],
            "SupportedContentTypes": list(CONTENT_TYPES),
            "SupportedResponseMIMETypes": ["application/json"],
        },
        "ModelApprovalStatus": "PendingManualApproval",
    }
    return {"Name": REGISTER, "Type": "RegisterModel", "Arguments": arguments}


def _condition(tuning: Mapping[str, Any], register: Mapping[str, Any], minimum: float) -> dict[str, Any]:
    objective = tuning["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]
    if objective["Type"] != "Maximize":
        raise ConfigError(f"a minimum of {minimum:g} needs an objective to maximize, not {objective['MetricName']}")
    condition = {
        "Type": "GreaterThanOrEqualTo",
        "LeftValue": {"Get": f"{_BEST}.FinalHyperParameterTuningJobObjectiveMetric.Value"},
        "RightValue": minimum,
    }
    message = f"{objective['MetricName']} of the best training job is below {minimum:g}, so it isn't registered."
    refuse = {"Name": REFUSE, "Type": "Fail", "Arguments": {"ErrorMessage": message}}
    arguments = {"Conditions": [condition], "IfSteps": [register], "ElseSteps": [refuse]}
    return {"Name": CHECK, "Type": "Condition", "Arguments": arguments}


def _joined(*values: str | Mapping[str, str]) -> dict[str, Any]:
    """Parts of a URI that the pipeline joins when it runs."""
    return {"Std:Join": {"On": "/", "Values": list(values)}}


class Pipelines:
    """Writes pipeline definitions with the settings of a context."""

    def __init__(self, context: AwsContext) -> None:
        self._context = context
        self._training = TrainingRequests(context)
        self._tuning = TuningJobs(context, self._training)
        self._endpoints = EndpointRequests(context)

    def definition(self, search: NativeSearch, model: str, *, minimum: float | None = None) -> dict[str, Any]:
        """The definition for a search; the code and the dataset are uploaded, and nothing is started.

        Args:
            search: the search.
            model: the name of the model, whose package group gets the best model.
            minimum: as in `pipeline_definition`.

        Raises:
            ConfigError: SageMaker doesn't support the settings, or the search may cost too much.
            DataError: training on the images would fail.
        """
        group, image = group_for(model), self._endpoints.image()
        planned = self._tuning.planned_call(search)
        served = model_request(settings=self._context.settings, image=image, model_uri="", role="")
        container = {name: value for name, value in served["PrimaryContainer"].items() if name != "ModelDataUrl"}
        pipeline_definition(planned.parameters, container, group, minimum=minimum)
        self._context.require_affordable([planned])
        training = self._training.prepared(search.job, check_name=lambda: None)
        return pipeline_definition(tuning_request(search, training), container, group, minimum=minimum)
