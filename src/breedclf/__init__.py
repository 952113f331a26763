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
    from breedclf.job_handle import Job
    from breedclf.jobs import JobSpec, JobStatus
    from breedclf.learning.classifier import Classifier
    from breedclf.learning.evaluation import evaluate
    from breedclf.tuning.space import Categorical, Continuous, Integer

_HOME_OF = {
    "InlineBackend": "breedclf.backends.inline",
    "Job": "breedclf.job_handle",
    "JobSpec": "breedclf.jobs",
    "JobStatus": "breedclf.jobs",
    "LocalBackend": "breedclf.backends.local.backend",
    "ProfilingSession": "breedclf.api.profiling",
    "S3Dataset": "breedclf.backends.sagemaker.dataset",
    "SageMakerBackend": "breedclf.backends.sagemaker.backend",
    "Classifier": "breedclf.learning.classifier",
    "Deployment": "breedclf.api.deployment",
    "Trainer": "breedclf.api.trainer",
    "TrainingConfig": "breedclf.config",
    "TuningJob": "breedclf.api.tuning",
    "Categorical": "breedclf.tuning.space",
    "Continuous": "breedclf.tuning.space",
    "Integer": "breedclf.tuning.space",
    "evaluate": "breedclf.learning.evaluation",
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
    "ProfilingSession",
    "S3Dataset",
    "SageMakerBackend",
    "Trainer",
    "TrainingConfig",
    "TuningJob",
    "__version__",
    "evaluate",
]


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'breedclf' has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(_HOME_OF))
