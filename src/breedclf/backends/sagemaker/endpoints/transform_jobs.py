"""Batch transform on SageMaker: predictions for many images by a job, without an endpoint."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

from breedclf.backends.sagemaker.api_call import validate_call
from breedclf.backends.sagemaker.aws_errors import translate_aws_errors
from breedclf.backends.sagemaker.context import AwsContext
from breedclf.backends.sagemaker.endpoints.request import (
    check_machine,
    check_servable,
    model_request,
    transform_request,
)
from breedclf.backends.sagemaker.endpoints.served_model import ServedModel
from breedclf.backends.sagemaker.endpoints.serving_images import serving_image
from breedclf.errors import EndpointError
from breedclf.jobs import new_name
from breedclf.jobs.plan import ApiCall

log: logging.Logger = logging.getLogger(__name__)

_PURPOSE = "transform"
_THREADS = 16
_OUT = ".out"


class Transforms:
    """The batch transforms of one account and region; each deletes everything but its own record."""

    def __init__(self, context: AwsContext) -> None:
        self._context = context

    def transform_images(
        self, artifact: Path, images: Iterable[tuple[str, bytes]]
    ) -> Iterator[tuple[str, bytes | EndpointError]]:
        """Predict images with one job; yields each name with the server's response or an error.

        Args:
            artifact: the model directory.
            images: for each, an arbitrary name and a file of at most 6 MiB.

        Raises:
            ConfigError: SageMaker doesn't support the settings.
            ArtifactError: the folder contains no model.
            EndpointError: the job ended without any predictions.
        """
        context, settings = self._context, self._context.settings
        image = serving_image(context.region, settings.endpoint_instance_type, settings.serving_image)
        check_servable(settings, image, region=context.region)
        check_machine(settings, image)
        job = new_name("transform")
        folder = context.uri("jobs", job)
        tags = context.tags(_PURPOSE, owned=True)
        request = transform_request(
            job,
            job,
            settings=settings,
            images_uri=f"{folder}/pictures/",
            output_uri=f"{folder}/predictions",
            tags=tags,
        )
        context.require_affordable([validate_call(ApiCall("CreateTransformJob", request), context.region)])
        context.check_bucket()
        with ServedModel.packed(artifact, context.uri("models")) as served:
            served.upload(context.storage)
        model = model_request(settings=settings, image=image, model_uri=served.uri, role=context.role)
        try:
            names = self._upload(images, request["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"])
            client = context.clients("sagemaker")
            with translate_aws_errors(f"starting batch transform {job}", as_=EndpointError):
                client.create_model(ModelName=job, **model, Tags=tags)
                client.create_transform_job(**request)
            reason = self._wait(job)
            yield from self._responses(job, names, f"{folder}/predictions", reason)
        finally:
            self._clean_up(job, folder)

    def _upload(self, images: Iterable[tuple[str, bytes]], uri: str) -> dict[str, str]:
        """Upload the images under short keys; returns the name for each key."""
        names: dict[str, str] = {}
        remaining = iter(enumerate(images))
        with ThreadPoolExecutor(_THREADS) as pool:
            while chunk := list(islice(remaining, 4 * _THREADS)):
                names |= {f"{number:07}": name for number, (name, _) in chunk}
                list(pool.map(lambda each: self._context.storage.put(f"{uri}{each[0]:07}", each[1][1]), chunk))
        return names

    def _wait(self, job: str) -> str:
        """Wait for the job and return why it failed, if it did; stops the job when interrupted."""
        client = self._context.clients("sagemaker")
        try:
            while True:
                with translate_aws_errors(f"describing batch transform {job}", as_=EndpointError):
                    described: dict[str, Any] = client.describe_transform_job(TransformJobName=job)
                status = described["TransformJobStatus"]
                if status in ("Completed", "Failed", "Stopped"):
                    return str(
                        described.get("FailureReason") or ("" if status == "Completed" else f"its status is {status}")
                    )
                self._context.clock.sleep(self._context.settings.poll_seconds)
        except BaseException:
            with translate_aws_errors(f"stopping batch transform {job}", as_=EndpointError):
                client.stop_transform_job(TransformJobName=job)
            log.warning("stopping batch transform %s", job)
            raise

    def _responses(
        self, job: str, names: dict[str, str], uri: str, reason: str
    ) -> Iterator[tuple[str, bytes | EndpointError]]:
        """The response for each image, which SageMaker writes to KEY.out, or the failure reason."""
        found = {Path(entry.name).name.removesuffix(_OUT): entry.name for entry in self._context.storage.entries(uri)}
        if reason and not found:
            raise EndpointError(f"batch transform {job} failed: {reason}")
        with ThreadPoolExecutor(_THREADS) as pool:
            for key, response in zip(
                names, pool.map(lambda key: self._response(uri, found.get(key)), names), strict=True
            ):
                missing = EndpointError(f"batch transform {job} has no result for it{f': {reason}' if reason else ''}")
                yield names[key], missing if response is None else response

    def _response(self, uri: str, name: str | None) -> bytes | None:
        return None if name is None else self._context.storage.get(f"{uri}/{name}")

    def _clean_up(self, job: str, folder: str) -> None:
        """Delete images, predictions and the model; errors are logged."""
        try:
            self._context.storage.delete(folder)
            with translate_aws_errors(f"deleting the model of batch transform {job}", as_=EndpointError):
                self._context.clients("sagemaker").delete_model(ModelName=job)
        except Exception as error:  # noqa: BLE001 - predictions must not be lost because of a failed clean-up
            log.warning("%s; `breedclf sagemaker clean` can delete it later", error)
