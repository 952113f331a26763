"""Fine-tune, tune, profile and deploy image classifiers, on this machine or on Amazon SageMaker.

Names are loaded on first use, so that `import breedclf` stays fast and needs neither torch nor boto3.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from breedclf._version import __version__

if TYPE_CHECKING:
    from breedclf.api.deployment import Deployment
    from breedclf.api.profiling import ProfilingSession
    from breedclf.api.trainer import Trainer
    from breedclf.api.tuning import TuningJob
    from breedclf.backends.inline import InlineBackend
    from breedclf.backends.local.backend import LocalBackend
    from breedclf.backends.sagemaker.backend import SageMakerBackend
    from breedclf.backends.sagemaker.dataset import S3Dataset
    from breedclf.config import TrainingConfig
    from breedclf.evaluation.evaluate import evaluate
    from breedclf.exporting.export import export
    from breedclf.inference.classifier import Classifier
    from breedclf.jobs import JobSpec, JobStatus
    from breedclf.jobs.handle import Job
    from breedclf.loggers.mlflow import MLflowLogger
    from breedclf.loggers.tensorboard import TensorBoardLogger
    from breedclf.tuning.space import Categorical, Continuous, Integer

_HOME_OF = {
    "InlineBackend": "breedclf.backends.inline",
    "Job": "breedclf.jobs.handle",
    "JobSpec": "breedclf.jobs",
    "JobStatus": "breedclf.jobs",
    "LocalBackend": "breedclf.backends.local.backend",
    "MLflowLogger": "breedclf.loggers.mlflow",
    "ProfilingSession": "breedclf.api.profiling",
    "TensorBoardLogger": "breedclf.loggers.tensorboard",
    "S3Dataset": "breedclf.backends.sagemaker.dataset",
    "SageMakerBackend": "breedclf.backends.sagemaker.backend",
    "Classifier": "breedclf.inference.classifier",
    "Deployment": "breedclf.api.deployment",
    "Trainer": "breedclf.api.trainer",
    "TrainingConfig": "breedclf.config",
    "TuningJob": "breedclf.api.tuning",
    "Categorical": "breedclf.tuning.space",
    "Continuous": "breedclf.tuning.space",
    "Integer": "breedclf.tuning.space",
    "evaluate": "breedclf.evaluation.evaluate",
    "export": "breedclf.exporting.export",
}

__all__ = [
    "Categorical",
    "Classifier",
    "Continuous",
    "Deployment",
    "InlineBackend",
    "Integer",
    "Job",
    "JobSpec",
    "JobStatus",
    "LocalBackend",
    "MLflowLogger",
    "ProfilingSession",
    "S3Dataset",
    "SageMakerBackend",
    "TensorBoardLogger",
    "Trainer",
    "TrainingConfig",
    "TuningJob",
    "__version__",
    "evaluate",
    "export",
]


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'breedclf' has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(_HOME_OF))
