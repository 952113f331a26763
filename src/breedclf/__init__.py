"""Fine-tune, tune, profile and deploy image classifiers, on this machine or on Amazon SageMaker.

Names are loaded on first use, so that `import breedclf` stays fast and needs neither torch nor boto3.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

from breedclf._version import __version__

if TYPE_CHECKING:
    from breedclf.api.best_trial import BestTrial
    from breedclf.api.deployment import Deployment
    from breedclf.api.endpoint import Endpoint
    from breedclf.api.explained import EndpointExplanation, ExplainedPrediction
    from breedclf.api.profiling import ProfilingSession
    from breedclf.api.trainer import Trainer
    from breedclf.api.transform import TransformResult
    from breedclf.api.tuning import TuningJob
    from breedclf.backbones.compare import compare_backbones
    from breedclf.backbones.comparison import BackboneComparison, ComparedBackbone
    from breedclf.backends.inline import InlineBackend
    from breedclf.backends.local.backend import LocalBackend
    from breedclf.backends.sagemaker.backend import SageMakerBackend
    from breedclf.backends.sagemaker.dataset import S3Dataset
    from breedclf.backends.sagemaker.settings import SageMakerSettings
    from breedclf.config import EvaluationConfig, TrainingConfig
    from breedclf.data.adapters.arrays import from_arrays
    from breedclf.data.adapters.hugging_face import from_hugging_face
    from breedclf.data.adapters.torch_dataset import from_torch_dataset
    from breedclf.data.labeled_images import LabeledImages
    from breedclf.data.write_folder import write_image_folder
    from breedclf.data_check import DatasetCheck, Problem, check
    from breedclf.errors import (
        ArtifactError,
        BreedclfError,
        ConfigError,
        DataError,
        DemoError,
        DiskError,
        DownloadError,
        EndpointError,
        ExportError,
        ForkError,
        GateError,
        ImageError,
        ImageTooCostlyError,
        ImageTooLargeError,
        JobError,
        JobFailedError,
        JobTimeoutError,
        MissingExtraError,
        ModelError,
        ParityError,
        ProfileError,
        PublishError,
        TrainingError,
        TrainingStoppedError,
        WeightsError,
    )
    from breedclf.evaluation.evaluate import evaluate
    from breedclf.evaluation.metrics import ClassResult, Evaluation
    from breedclf.evaluation.model_card import model_card
    from breedclf.explanations.explainer import Explainer
    from breedclf.explanations.explanation import Explanation
    from breedclf.exporting.comparison import Comparison
    from breedclf.exporting.export import Export, export
    from breedclf.features.progress import FeatureProgress
    from breedclf.features.stored_pass import FeatureCounts
    from breedclf.inference.classifier import Classifier
    from breedclf.inference.prediction import Prediction, RankedClass
    from breedclf.jobs import Backend, JobDescription, JobSpec, JobStatus, MetricRecord, SecondaryStatus, Transition
    from breedclf.jobs.endpoints import EndpointDescription, EndpointStatus, ServingBackend
    from breedclf.jobs.handle import Job
    from breedclf.jobs.metric_lines import MetricDefinition
    from breedclf.jobs.plan import Plan
    from breedclf.journey.journey import Journey
    from breedclf.journey.plan import JourneyPlan
    from breedclf.journey.result import JourneyResult
    from breedclf.journey.settings import JourneySettings
    from breedclf.label_review.result import NearDuplicates, Neighbor, Outlier, Review, Suspect, TwinEffect
    from breedclf.label_review.review import review
    from breedclf.loggers.mlflow import MLflowLogger
    from breedclf.loggers.tensorboard import TensorBoardLogger
    from breedclf.model_store.compare import compare_models
    from breedclf.model_store.comparison import ModelComparison
    from breedclf.model_store.gate import Gate, GateCheck
    from breedclf.model_store.hub import push_to_hub
    from breedclf.model_store.records import Lineage, ModelRecord, ModelVersion
    from breedclf.model_store.store import ModelStore
    from breedclf.profiling.foreign import ForeignLoop
    from breedclf.profiling.profile import Profile
    from breedclf.profiling.rules import Finding
    from breedclf.profiling.verified import Verification
    from breedclf.training.hooks import TrainingHook
    from breedclf.training.lr_finder import LearningRateCurve
    from breedclf.training.records import BeforeTraining, EpochRecord, StepRecord, TrainingPlan
    from breedclf.training.results.result import FitResult
    from breedclf.training.valid_predictions import ValidPredictions
    from breedclf.tuning.confirmation import Confirmation, ConfirmedTrial
    from breedclf.tuning.space import Categorical, Continuous, Integer, ParameterRange
    from breedclf.tuning.study import Study
    from breedclf.tuning.trials import SeedRun, Trial

_MODULE_OF = {
    "ArtifactError": "breedclf.errors",
    "BackboneComparison": "breedclf.backbones.comparison",
    "Backend": "breedclf.jobs",
    "BeforeTraining": "breedclf.training.records",
    "BestTrial": "breedclf.api.best_trial",
    "BreedclfError": "breedclf.errors",
    "Categorical": "breedclf.tuning.space",
    "ClassResult": "breedclf.evaluation.metrics",
    "Classifier": "breedclf.inference.classifier",
    "ComparedBackbone": "breedclf.backbones.comparison",
    "Comparison": "breedclf.exporting.comparison",
    "ConfigError": "breedclf.errors",
    "Confirmation": "breedclf.tuning.confirmation",
    "ConfirmedTrial": "breedclf.tuning.confirmation",
    "Continuous": "breedclf.tuning.space",
    "DataError": "breedclf.errors",
    "DatasetCheck": "breedclf.data_check",
    "DemoError": "breedclf.errors",
    "Deployment": "breedclf.api.deployment",
    "DiskError": "breedclf.errors",
    "DownloadError": "breedclf.errors",
    "Endpoint": "breedclf.api.endpoint",
    "EndpointDescription": "breedclf.jobs.endpoints",
    "EndpointError": "breedclf.errors",
    "EndpointExplanation": "breedclf.api.explained",
    "EndpointStatus": "breedclf.jobs.endpoints",
    "EpochRecord": "breedclf.training.records",
    "Evaluation": "breedclf.evaluation.metrics",
    "EvaluationConfig": "breedclf.config",
    "ExplainedPrediction": "breedclf.api.explained",
    "Explainer": "breedclf.explanations.explainer",
    "Explanation": "breedclf.explanations.explanation",
    "Export": "breedclf.exporting.export",
    "ExportError": "breedclf.errors",
    "FeatureCounts": "breedclf.features.stored_pass",
    "FeatureProgress": "breedclf.features.progress",
    "Finding": "breedclf.profiling.rules",
    "FitResult": "breedclf.training.results.result",
    "ForeignLoop": "breedclf.profiling.foreign",
    "ForkError": "breedclf.errors",
    "Gate": "breedclf.model_store.gate",
    "GateCheck": "breedclf.model_store.gate",
    "GateError": "breedclf.errors",
    "ImageError": "breedclf.errors",
    "ImageTooCostlyError": "breedclf.errors",
    "ImageTooLargeError": "breedclf.errors",
    "InlineBackend": "breedclf.backends.inline",
    "Integer": "breedclf.tuning.space",
    "Job": "breedclf.jobs.handle",
    "JobDescription": "breedclf.jobs",
    "JobError": "breedclf.errors",
    "JobFailedError": "breedclf.errors",
    "JobSpec": "breedclf.jobs",
    "JobStatus": "breedclf.jobs",
    "JobTimeoutError": "breedclf.errors",
    "Journey": "breedclf.journey.journey",
    "JourneyPlan": "breedclf.journey.plan",
    "JourneyResult": "breedclf.journey.result",
    "JourneySettings": "breedclf.journey.settings",
    "LabeledImages": "breedclf.data.labeled_images",
    "LearningRateCurve": "breedclf.training.lr_finder",
    "Lineage": "breedclf.model_store.records",
    "LocalBackend": "breedclf.backends.local.backend",
    "MLflowLogger": "breedclf.loggers.mlflow",
    "MetricDefinition": "breedclf.jobs.metric_lines",
    "MetricRecord": "breedclf.jobs",
    "MissingExtraError": "breedclf.errors",
    "ModelComparison": "breedclf.model_store.comparison",
    "ModelError": "breedclf.errors",
    "ModelRecord": "breedclf.model_store.records",
    "ModelStore": "breedclf.model_store.store",
    "ModelVersion": "breedclf.model_store.records",
    "NearDuplicates": "breedclf.label_review.result",
    "Neighbor": "breedclf.label_review.result",
    "Outlier": "breedclf.label_review.result",
    "ParameterRange": "breedclf.tuning.space",
    "ParityError": "breedclf.errors",
    "Plan": "breedclf.jobs.plan",
    "Prediction": "breedclf.inference.prediction",
    "Problem": "breedclf.data_check",
    "Profile": "breedclf.profiling.profile",
    "ProfileError": "breedclf.errors",
    "ProfilingSession": "breedclf.api.profiling",
    "PublishError": "breedclf.errors",
    "RankedClass": "breedclf.inference.prediction",
    "Review": "breedclf.label_review.result",
    "S3Dataset": "breedclf.backends.sagemaker.dataset",
    "SageMakerBackend": "breedclf.backends.sagemaker.backend",
    "SageMakerSettings": "breedclf.backends.sagemaker.settings",
    "SecondaryStatus": "breedclf.jobs",
    "SeedRun": "breedclf.tuning.trials",
    "ServingBackend": "breedclf.jobs.endpoints",
    "StepRecord": "breedclf.training.records",
    "Study": "breedclf.tuning.study",
    "Suspect": "breedclf.label_review.result",
    "TensorBoardLogger": "breedclf.loggers.tensorboard",
    "Trainer": "breedclf.api.trainer",
    "TrainingConfig": "breedclf.config",
    "TrainingError": "breedclf.errors",
    "TrainingHook": "breedclf.training.hooks",
    "TrainingPlan": "breedclf.training.records",
    "TrainingStoppedError": "breedclf.errors",
    "TransformResult": "breedclf.api.transform",
    "Transition": "breedclf.jobs",
    "Trial": "breedclf.tuning.trials",
    "TuningJob": "breedclf.api.tuning",
    "TwinEffect": "breedclf.label_review.result",
    "ValidPredictions": "breedclf.training.valid_predictions",
    "Verification": "breedclf.profiling.verified",
    "WeightsError": "breedclf.errors",
    "check": "breedclf.data_check",
    "compare_backbones": "breedclf.backbones.compare",
    "compare_models": "breedclf.model_store.compare",
    "evaluate": "breedclf.evaluation.evaluate",
    "export": "breedclf.exporting.export",
    "from_arrays": "breedclf.data.adapters.arrays",
    "from_hugging_face": "breedclf.data.adapters.hugging_face",
    "from_torch_dataset": "breedclf.data.adapters.torch_dataset",
    "model_card": "breedclf.evaluation.model_card",
    "push_to_hub": "breedclf.model_store.hub",
    "review": "breedclf.label_review.review",
    "write_image_folder": "breedclf.data.write_folder",
}

__all__ = [
    "ArtifactError",
    "BackboneComparison",
    "Backend",
    "BeforeTraining",
    "BestTrial",
    "BreedclfError",
    "Categorical",
    "ClassResult",
    "Classifier",
    "ComparedBackbone",
    "Comparison",
    "ConfigError",
    "Confirmation",
    "ConfirmedTrial",
    "Continuous",
    "DataError",
    "DatasetCheck",
    "DemoError",
    "Deployment",
    "DiskError",
    "DownloadError",
    "Endpoint",
    "EndpointDescription",
    "EndpointError",
    "EndpointExplanation",
    "EndpointStatus",
    "EpochRecord",
    "Evaluation",
    "EvaluationConfig",
    "ExplainedPrediction",
    "Explainer",
    "Explanation",
    "Export",
    "ExportError",
    "FeatureCounts",
    "FeatureProgress",
    "Finding",
    "FitResult",
    "ForeignLoop",
    "ForkError",
    "Gate",
    "GateCheck",
    "GateError",
    "ImageError",
    "ImageTooCostlyError",
    "ImageTooLargeError",
    "InlineBackend",
    "Integer",
    "Job",
    "JobDescription",
    "JobError",
    "JobFailedError",
    "JobSpec",
    "JobStatus",
    "JobTimeoutError",
    "Journey",
    "JourneyPlan",
    "JourneyResult",
    "JourneySettings",
    "LabeledImages",
    "LearningRateCurve",
    "Lineage",
    "LocalBackend",
    "MLflowLogger",
    "MetricDefinition",
    "MetricRecord",
    "MissingExtraError",
    "ModelComparison",
    "ModelError",
    "ModelRecord",
    "ModelStore",
    "ModelVersion",
    "NearDuplicates",
    "Neighbor",
    "Outlier",
    "ParameterRange",
    "ParityError",
    "Plan",
    "Prediction",
    "Problem",
    "Profile",
    "ProfileError",
    "ProfilingSession",
    "PublishError",
    "RankedClass",
    "Review",
    "S3Dataset",
    "SageMakerBackend",
    "SageMakerSettings",
    "SecondaryStatus",
    "SeedRun",
    "ServingBackend",
    "StepRecord",
    "Study",
    "Suspect",
    "TensorBoardLogger",
    "Trainer",
    "TrainingConfig",
    "TrainingError",
    "TrainingHook",
    "TrainingPlan",
    "TrainingStoppedError",
    "TransformResult",
    "Transition",
    "Trial",
    "TuningJob",
    "TwinEffect",
    "ValidPredictions",
    "Verification",
    "WeightsError",
    "__version__",
    "check",
    "compare_backbones",
    "compare_models",
    "evaluate",
    "export",
    "from_arrays",
    "from_hugging_face",
    "from_torch_dataset",
    "model_card",
    "push_to_hub",
    "review",
    "write_image_folder",
]


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'breedclf' has no attribute {name!r}")
    missing = import_module("breedclf.errors").MissingExtraError
    try:
        value = getattr(import_module(_MODULE_OF[name]), name)
    except missing as error:  # the name stays usable in imports and annotations; its use says what to install
        return cast(object, import_module("breedclf.runtime.extras").unavailable_class(name, error))
    globals()[name] = value
    return cast(object, value)


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(_MODULE_OF))
