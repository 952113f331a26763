"""Jobs, searches and endpoints on Amazon SageMaker; needs the extra `breedclf[sagemaker]`."""

from __future__ import annotations

from breedclf.errors import MissingExtraError

try:
    import boto3  # noqa: F401 - every module here needs it, and only here is told what to install
except ModuleNotFoundError as missing:
    raise MissingExtraError(
        f'SageMaker needs {missing.name}, which is not installed: pip install "breedclf[sagemaker]"'
    ) from missing
