"""Fine-tune, tune, profile and deploy image classifiers, on this machine or on Amazon SageMaker.

Names are loaded on first use, so that `import breedclf` stays fast and needs neither torch nor boto3.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from breedclf._version import __version__

if TYPE_CHECKING:
    from breedclf.api.best_trial import BestTrial
    from breedclf.api.deployment import Deployment
    from breedclf.api.endpoint import Endpoint
    from breedclf.api.profiling import ProfilingSession
    from breedclf.api.trainer import Trainer
    from breedclf.api.tuning import TuningJob
    from breedclf.backends.inline import InlineBackend
    from breedclf.backends.local.backend import LocalBackend
    from breedclf.backends.sagemaker.backend import SageMakerBackend
    from breedclf.backends.sagemaker.dataset import S3Dataset
    from breedclf.config import EvaluationConfig, TrainingConfig
    from breedclf.data.adapters.arrays import from_arrays
    from breedclf.data.adapters.hugging_face import from_hugging_face
    from breedclf.data.adapters.torch_dataset import from_torch_dataset
    from breedclf.data.labeled_images import LabeledImages
    from breedclf.data.write_folder import write_image_folder
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
        TrainingError,
        TrainingStoppedError,
        WeightsError,
    )
    from breedclf.evaluation.evaluate import evaluate
    from breedclf.evaluation.metrics import Evaluation
    from breedclf.exporting.export import export
    from breedclf.features.progress import FeatureProgress
    from breedclf.inference.classifier import Classifier
    from breedclf.inference.prediction import Prediction, RankedClass
    from breedclf.jobs import Backend, JobDescription, JobSpec, JobStatus
    from breedclf.jobs.handle import Job
    from breedclf.loggers.mlflow import MLflowLogger
    from breedclf.loggers.tensorboard import TensorBoardLogger
    from breedclf.training.hooks import TrainingHook
    from breedclf.training.records import EpochRecord, StepRecord, TrainingPlan
    from breedclf.training.result import FitResult
    from breedclf.training.valid_predictions import ValidPredictions
    from breedclf.tuning.space import Categorical, Continuous, Integer, ParameterRange

_MODULE_OF = {
    "ArtifactError": "breedclf.errors",
    "Backend": "breedclf.jobs",
    "BestTrial": "breedclf.api.best_trial",
    "BreedclfError": "breedclf.errors",
    "Categorical": "breedclf.tuning.space",
    "Classifier": "breedclf.inference.classifier",
    "ConfigError": "breedclf.errors",
    "Continuous": "breedclf.tuning.space",
    "DataError": "breedclf.errors",
    "DemoError": "breedclf.errors",
    "Deployment": "breedclf.api.deployment",
    "DiskError": "breedclf.errors",
    "DownloadError": "breedclf.errors",
    "Endpoint": "breedclf.api.endpoint",
    "EndpointError": "breedclf.errors",
    "EpochRecord": "breedclf.training.records",
    "Evaluation": "breedclf.evaluation.metrics",
    "EvaluationConfig": "breedclf.config",
    "ExportError": "breedclf.errors",
    "FeatureProgress": "breedclf.features.progress",
    "FitResult": "breedclf.training.result",
    "ForkError": "breedclf.errors",
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
    "LabeledImages": "breedclf.data.labeled_images",
    "LocalBackend": "breedclf.backends.local.backend",
    "MLflowLogger": "breedclf.loggers.mlflow",
    "MissingExtraError": "breedclf.errors",
    "ModelError": "breedclf.errors",
    "ParameterRange": "breedclf.tuning.space",
    "ParityError": "breedclf.errors",
    "Prediction": "breedclf.inference.prediction",
    "ProfileError": "breedclf.errors",
    "ProfilingSession": "breedclf.api.profiling",
    "RankedClass": "breedclf.inference.prediction",
    "S3Dataset": "breedclf.backends.sagemaker.dataset",
    "SageMakerBackend": "breedclf.backends.sagemaker.backend",
    "StepRecord": "breedclf.training.records",
    "TensorBoardLogger": "breedclf.loggers.tensorboard",
    "Trainer": "breedclf.api.trainer",
    "TrainingConfig": "breedclf.config",
    "TrainingError": "breedclf.errors",
    "TrainingHook": "breedclf.training.hooks",
    "TrainingPlan": "breedclf.training.records",
    "TrainingStoppedError": "breedclf.errors",
    "TuningJob": "breedclf.api.tuning",
    "ValidPredictions": "breedclf.training.valid_predictions",
    "WeightsError": "breedclf.errors",
    "evaluate": "breedclf.evaluation.evaluate",
    "export": "breedclf.exporting.export",
    "from_arrays": "breedclf.data.adapters.arrays",
    "from_hugging_face": "breedclf.data.adapters.hugging_face",
    "from_torch_dataset": "breedclf.data.adapters.torch_dataset",
    "write_image_folder": "breedclf.data.write_folder",
}

__all__ = [
    "ArtifactError",
    "Backend",
    "BestTrial",
    "BreedclfError",
    "Categorical",
    "Classifier",
    "ConfigError",
    "Continuous",
    "DataError",
    "DemoError",
    "Deployment",
    "DiskError",
    "DownloadError",
    "Endpoint",
    "EndpointError",
    "EpochRecord",
    "Evaluation",
    "EvaluationConfig",
    "ExportError",
    "FeatureProgress",
    "FitResult",
    "ForkError",
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
    "LabeledImages",
    "LocalBackend",
    "MLflowLogger",
    "MissingExtraError",
    "ModelError",
    "ParameterRange",
    "ParityError",
    "Prediction",
    "ProfileError",
    "ProfilingSession",
    "RankedClass",
    "S3Dataset",
    "SageMakerBackend",
    "StepRecord",
    "TensorBoardLogger",
    "Trainer",
    "TrainingConfig",
    "TrainingError",
    "TrainingHook",
    "TrainingPlan",
    "TrainingStoppedError",
    "TuningJob",
    "ValidPredictions",
    "WeightsError",
    "__version__",
    "evaluate",
    "export",
    "from_arrays",
    "from_hugging_face",
    "from_torch_dataset",
    "write_image_folder",
]


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'breedclf' has no attribute {name!r}")
    value = getattr(import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(_MODULE_OF))
