"""The operations on batch transforms: a container predicts each object of a prefix, and its answers go to S3."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from breedclf.backends.emulator.access.keys import Access
from breedclf.backends.emulator.descriptions import described_transform
from breedclf.backends.emulator.faults import Faults
from breedclf.backends.emulator.protocol import ServiceError
from breedclf.backends.emulator.s3.storage import Storage, location_of
from breedclf.backends.emulator.serving.container import Container
from breedclf.backends.emulator.serving.models import served_container
from breedclf.backends.emulator.store import MODEL, TRANSFORM, Record, Store, page, selected
from breedclf.errors import BreedclfError, EndpointError
from breedclf.files.s3_uri import S3Location

TRANSFORM_GROUP = "/aws/sagemaker/TransformJobs"
_HEALTH_SECONDS = 180.0
_MAX_PAYLOADS_MB = 100

log: logging.Logger = logging.getLogger(__name__)


@dataclass
class TransformJobs:
    """Create, describe, list and stop transform jobs."""

    store: Store
    storage: Storage
    faults: Faults
    python: str
    access: Access
    _threads: list[threading.Thread] = field(default_factory=list)
    _closing: threading.Event = field(default_factory=threading.Event)

    def create(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        self.store.get(MODEL, request["ModelName"], region)
        source = request["TransformInput"]
        if source["DataSource"]["S3DataSource"]["S3DataType"] != "S3Prefix":
            _refuse("Only S3DataType S3Prefix is emulated by breedclf's emulator.")
        if source.get("SplitType", "None") != "None" or source.get("CompressionType", "None") != "None":
            _refuse("SplitType and CompressionType other than None aren't emulated by breedclf's emulator.")
        if request.get("MaxPayloadInMB", 6) * request.get("MaxConcurrentTransforms", 1) > _MAX_PAYLOADS_MB:
            _refuse(f"MaxConcurrentTransforms * MaxPayloadInMB must not be more than {_MAX_PAYLOADS_MB} MB.")
        if "DataProcessing" in request or "DataCaptureConfig" in request:
            _refuse("DataProcessing and DataCaptureConfig aren't emulated by breedclf's emulator.")
        target = location_of(request["TransformOutput"]["S3OutputPath"])
        if self.storage.region_of(target.bucket) != region:
            _refuse(f"The bucket {target.bucket} of TransformOutput isn't in region {region}.")
        record = self.store.create(TRANSFORM, request["TransformJobName"], region, request, status="InProgress")
        self._start(record["name"])
        return {"TransformJobArn": record["arn"]}

    def describe(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        record = self.store.get(TRANSFORM, request["TransformJobName"], region)
        answer = {**described_transform(record["request"]), **_summary(record)}
        answer.pop("LastModifiedTime")
        return answer | ({"TransformStartTime": record["started"]} if record.get("started") else {})

    def list(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        summaries = [_summary(record) for record in self.store.all(TRANSFORM, region)]
        chosen = selected(summaries, request, name="TransformJobName", status="TransformJobStatus")
        return page(chosen, request, "TransformJobSummaries")

    def stop(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        record = self.store.get(TRANSFORM, request["TransformJobName"], region)
        if record.get("ended"):
            _refuse(f"The request was rejected because the transform job is in status {record['status']}.")
        self.store.change(TRANSFORM, record["name"], status="Stopping")
        return {}

    def folder(self, name: str) -> Path:
        """The folder of a job's model and logs."""
        return self.store.root / "transforms" / name

    def resume(self) -> None:
        """Restart the running jobs of an earlier emulator."""
        for record in self.store.all(TRANSFORM):
            if not record.get("ended"):
                self._start(record["name"])

    def close(self) -> None:
        """Abandon the jobs; `resume` restarts them."""
        self._closing.set()
        for thread in self._threads:
            thread.join(timeout=15)

    def _start(self, name: str) -> None:
        thread = threading.Thread(target=self._run, args=(name,), name=f"transform {name}", daemon=True)
        self._threads = [each for each in self._threads if each.is_alive()] + [thread]
        thread.start()

    def _run(self, name: str) -> None:
        record = self.store.find(TRANSFORM, name)
        assert record is not None
        try:
            problem = self._execute(record)
        except BreedclfError as error:
            problem = f"ClientError: {error}"
        except Exception as error:
            log.exception("transform job %s can't be executed", name)
            problem = f"InternalServerError: {type(error).__name__}: {error}"
        if self._closing.is_set():
            return
        stopping = self._is_stopping(name)
        status = "Stopped" if stopping else "Failed" if problem else "Completed"
        changes = {"failure_reason": problem} if status == "Failed" else {}
        self.store.change(TRANSFORM, name, status=status, ended=self.store.clock(), **changes)

    def _execute(self, record: Record) -> str | None:
        """Predict every object, also after failures; return the reason if the job failed."""
        name, request = record["name"], record["request"]
        if reason := self.faults.job_failure("TransformJob", name):
            return reason
        model = self.store.get(MODEL, request["ModelName"], record["region"])
        definition = served_container(model)
        definition["Environment"] = {**definition.get("Environment", {}), **request.get("Environment", {})}
        source = location_of(request["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"])
        keys = [each["Key"] for each in self.storage.list(source) if not each["Key"].endswith("/")]
        if not keys:
            return f"ClientError: No objects found under {source}"
        folder = self.folder(name)
        folder.mkdir(parents=True, exist_ok=True)
        access = self.access.as_role(record["arn"], model["request"]["ExecutionRoleArn"], record["region"])
        container = Container(folder, definition, python=self.python, access=access)
        container.start(self.storage, seconds=_HEALTH_SECONDS)
        try:
            self.store.change(TRANSFORM, name, started=self.store.clock())
            with ThreadPoolExecutor(max(1, request.get("MaxConcurrentTransforms", 1))) as pool:
                done = list(pool.map(lambda key: self._transform(record, container, source, key), keys))
        finally:
            container.end()
        return None if all(done) else "ClientError: See job logs for more information"

    def _transform(self, record: Record, container: Container, source: S3Location, key: str) -> bool:
        request = record["request"]
        if self._closing.is_set() or self._is_stopping(record["name"]):
            return True
        body = self.storage.read(S3Location(source.bucket, key))
        headers = {"Content-Type": request["TransformInput"].get("ContentType", "")}
        headers |= {"Accept": request["TransformOutput"].get("Accept", "*/*")}
        max_bytes = request.get("MaxPayloadInMB", 6) << 20
        if max_bytes and len(body) > max_bytes:
            return self._failed(record, source.bucket, key, f"payload of {len(body)} bytes is over MaxPayloadInMB")
        seconds = request.get("ModelClientConfig", {}).get("InvocationsTimeoutInSeconds", 600)
        try:
            reply = container.invoke(body, headers, seconds=seconds)
        except EndpointError as error:
            return self._failed(record, source.bucket, key, str(error))
        if reply.status != 200:
            text = reply.body.decode("utf-8", errors="replace")
            return self._failed(record, source.bucket, key, f"ClientError: {reply.status}: {text}")
        target = location_of(request["TransformOutput"]["S3OutputPath"])
        prefix = source.key[: source.key.rfind("/") + 1]
        name = f"{target.key.rstrip('/')}/{key.removeprefix(prefix)}.out".lstrip("/")
        end = b"\n" if request["TransformOutput"].get("AssembleWith") == "Line" else b""
        self.storage.write(reply.body + end, S3Location(target.bucket, name))
        return True

    def _failed(self, record: Record, bucket: str, key: str, reason: str) -> bool:
        with (self.folder(record["name"]) / "data-log.txt").open("a", encoding="utf-8") as file:
            file.write(f"[sagemaker logs]: {bucket}/{key}: {reason}\n")
        return False

    def _is_stopping(self, name: str) -> bool:
        return (self.store.find(TRANSFORM, name) or {}).get("status") == "Stopping"


def _summary(record: Record) -> dict[str, Any]:
    summary = {
        "TransformJobName": record["name"],
        "TransformJobArn": record["arn"],
        "CreationTime": record["created"],
        "LastModifiedTime": record["modified"],
        "TransformJobStatus": record["status"],
    }
    if record.get("ended"):
        summary["TransformEndTime"] = record["ended"]
    if record.get("failure_reason"):
        summary["FailureReason"] = record["failure_reason"]
    return summary


def _refuse(message: str) -> NoReturn:
    raise ServiceError("ValidationException", message)
