"""Batch transform on SageMaker: many pictures through a model by a job that ends, not by an endpoint that waits."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

from breedclf.backends.sagemaker.api_call import ApiCall
from breedclf.backends.sagemaker.aws import told
from breedclf.backends.sagemaker.context import Place
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

log: logging.Logger = logging.getLogger(__name__)

_PURPOSE = "transform"
_AT_A_TIME = 16
_OUT = ".out"


class Transforms(Place):
    """The batch transforms of one account and region; each leaves nothing behind but its record."""

    def transform_images(
        self, artifact: Path, pictures: Iterable[tuple[str, bytes]]
    ) -> Iterator[tuple[str, bytes | EndpointError]]:
        """Predict pictures by one job, and yield the server's answer, or what is known of a failure, for each name.

        Args:
            artifact: the model folder.
            pictures: a name of any form, and a file of at most 6 MiB, for each.

        Raises:
            ConfigError: SageMaker does nothing so.
            ArtifactError: the folder holds no model.
            EndpointError: the job ended without a single answer.
        """
        settings = self.settings
        image = serving_image(self.region, settings.endpoint_instance_type, settings.serving_image)
        check_servable(settings, image, region=self.region)
        check_machine(settings, image)
        job = new_name("transform")
        folder = self.uri("jobs", job)
        tags = self.tags(_PURPOSE, owned=True)
        request = transform_request(
            job,
            job,
            settings=settings,
            images_uri=f"{folder}/pictures/",
            output_uri=f"{folder}/predictions",
            tags=tags,
        )
        self.check_cost([ApiCall("CreateTransformJob", request).checked(self.region)])
        self.check_bucket()
        with ServedModel.packed(artifact, self.uri("models")) as served:
            served.upload(self.storage)
        model = model_request(settings=settings, image=image, model_uri=served.uri, role=self.role)
        try:
            names = self._upload(pictures, request["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"])
            client = self.clients("sagemaker")
            with told(f"beginning batch transform {job}", EndpointError):
                client.create_model(ModelName=job, **model, Tags=tags)
                client.create_transform_job(**request)
            reason = self._ended(job)
            yield from self._answers(job, names, f"{folder}/predictions", reason)
        finally:
            self._clear(job, folder)

    def _upload(self, pictures: Iterable[tuple[str, bytes]], uri: str) -> dict[str, str]:
        """Write the pictures under short names of our own, and return the names that these stand for."""
        names: dict[str, str] = {}
        remaining = iter(enumerate(pictures))
        with ThreadPoolExecutor(_AT_A_TIME) as pool:
            while chunk := list(islice(remaining, 4 * _AT_A_TIME)):
                names |= {f"{number:07}": name for number, (name, _) in chunk}
                list(pool.map(lambda each: self.storage.put(f"{uri}{each[0]:07}", each[1][1]), chunk))
        return names

    def _ended(self, job: str) -> str:
        """Wait for the job and tell why it failed, if it did; interrupted, it is stopped."""
        client = self.clients("sagemaker")
        try:
            while True:
                with told(f"asking for batch transform {job}", EndpointError):
                    described: dict[str, Any] = client.describe_transform_job(TransformJobName=job)
                status = described["TransformJobStatus"]
                if status in ("Completed", "Failed", "Stopped"):
                    return str(described.get("FailureReason") or ("" if status == "Completed" else f"it is {status}"))
                self._clock.sleep(self.settings.poll_seconds)
        except BaseException:
            with told(f"stopping batch transform {job}", EndpointError):
                client.stop_transform_job(TransformJobName=job)
            log.warning("batch transform %s was told to stop", job)
            raise

    def _answers(
        self, job: str, names: dict[str, str], uri: str, reason: str
    ) -> Iterator[tuple[str, bytes | EndpointError]]:
        """SageMaker puts the answer to PICTURE at PICTURE.out; where there is none, only the job's reason is known."""
        found = {Path(entry.name).name.removesuffix(_OUT): entry.name for entry in self.storage.entries(uri)}
        if reason and not found:
            raise EndpointError(f"batch transform {job} failed: {reason}")
        with ThreadPoolExecutor(_AT_A_TIME) as pool:
            for key, answer in zip(names, pool.map(lambda key: self._answer(uri, found.get(key)), names), strict=True):
                missing = EndpointError(f"batch transform {job} left no answer for it{f': {reason}' if reason else ''}")
                yield names[key], missing if answer is None else answer

    def _answer(self, uri: str, name: str | None) -> bytes | None:
        return None if name is None else self.storage.get(f"{uri}/{name}")

    def _clear(self, job: str, folder: str) -> None:
        """Delete pictures, predictions and the model's record, as far as that goes."""
        try:
            self.storage.delete(folder)
            with told(f"clearing up after batch transform {job}", EndpointError):
                self.clients("sagemaker").delete_model(ModelName=job)
        except Exception as error:  # noqa: BLE001 - the answers are worth more than a tidy end
            log.warning("%s; `breedclf sagemaker clean` finds it again", error)
