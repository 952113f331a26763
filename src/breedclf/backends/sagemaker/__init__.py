"""Jobs, searches and endpoints on Amazon SageMaker; requires the extra `breedclf[sagemaker]`."""

from __future__ import annotations

from breedclf.errors import MissingExtraError

try:
    import boto3  # noqa: F401 - every module here needs it; report a missing extra in one place
except ModuleNotFoundError as _missing:
    raise MissingExtraError(
        f'SageMaker needs {_missing.name}, which is not installed: pip install "breedclf[sagemaker]"'
    ) from _missing
