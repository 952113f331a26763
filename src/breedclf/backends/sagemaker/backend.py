"""`SageMakerBackend`: jobs, searches and endpoints on Amazon SageMaker."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from breedclf.backends.sagemaker.aws import AwsClients, session_of
from breedclf.backends.sagemaker.endpoints.endpoints import Endpoints
from breedclf.backends.sagemaker.endpoints.transform_jobs import Transforms
from breedclf.backends.sagemaker.planner import Planning
from breedclf.backends.sagemaker.settings import SageMakerSettings
from breedclf.backends.sagemaker.tuning.jobs import TuningJobs
from breedclf.jobs.handle import Clock


class SageMakerBackend(TuningJobs, Endpoints, Transforms, Planning):
    """Runs jobs, searches and endpoints on Amazon SageMaker, in the account of the AWS credentials of this machine.

    Every field of `SageMakerSettings` is a keyword. What isn't given comes from the environment
    (`BREEDCLF_SAGEMAKER_ROLE`) or the file that `BREEDCLF_SAGEMAKER_CONFIG` names. AWS isn't asked before it is needed.

    Args:
        role: ARN of the IAM role that jobs and endpoints run as.
        bucket: S3 bucket of code, data and models; SageMaker's default bucket if not given.
        region: AWS region; that of the session if not given.
        session: a `boto3.Session`, for instance with a profile; boto3's own choice if not given.
        clients: AWS clients by service name, instead of those that the session makes.
        settings: all settings at once; keywords go before them.
        home: folder for what is fetched; `BREEDCLF_HOME` or `.breedclf` if not given.
        clock: the time, for tests.

    Raises:
        ConfigError: a setting is unknown, wrong, or contradicts another.

    Example:
        >>> SageMakerBackend("arn:aws:iam::111122223333:role/breedclf", "my-bucket", "eu-west-1").name
        'sagemaker'
    """

    name = "sagemaker"

    def __init__(
        self,
        role: str | None = None,
        bucket: str | None = None,
        region: str | None = None,
        *,
        session: Any = None,
        clients: AwsClients | None = None,
        settings: SageMakerSettings | None = None,
        home: str | Path | None = None,
        clock: Clock = time,
        **keywords: Any,
    ) -> None:
        given = {"role": role, "bucket": bucket, "region": region, **keywords}
        if settings is None:
            settings = SageMakerSettings.given(**given)
        else:
            settings = settings.replace(**{name: value for name, value in given.items() if value is not None})
        if clients is None:
            clients = AwsClients(session_of(session), settings.region, settings.endpoint_url)
        super().__init__(settings, clients, home=home, clock=clock)

    def __repr__(self) -> str:
        return f"SageMakerBackend(region={self.settings.region!r}, bucket={self.settings.bucket!r})"
