"""The operations on endpoints; each is a container, which is replaced only by one that passes its health check."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from breedclf.backends.emulator.access.keys import Access
from breedclf.backends.emulator.faults import Faults
from breedclf.backends.emulator.protocol import ACCOUNT, Answer, ServiceError
from breedclf.backends.emulator.s3.storage import Storage
from breedclf.backends.emulator.serving.container import NO_PING, Container, Reply
from breedclf.backends.emulator.serving.models import served_container
from breedclf.backends.emulator.store import CONFIG, ENDPOINT, MODEL, Record, Store, page, selected
from breedclf.errors import EndpointError

ENDPOINT_GROUP = "/aws/sagemaker/Endpoints/"
INSTANCE = "i-0emulator"
_HEALTH_SECONDS = 180.0
_INVOKE_SECONDS = 60.0
_MAX_BODY_BYTES, _MAX_SERVERLESS_BYTES = 25 << 20, 4 << 20
_FORWARDED = ("content-type", "accept")
_FORWARDED_PREFIX = "x-amzn-sagemaker-"

log: logging.Logger = logging.getLogger(__name__)


@dataclass
class Endpoints:
    """Create, describe, list, update, delete and invoke endpoints."""

    store: Store
    storage: Storage
    faults: Faults
    python: str
    access: Access
    _containers: dict[str, Container] = field(default_factory=dict)
    _threads: list[threading.Thread] = field(default_factory=list)
    _closing: threading.Event = field(default_factory=threading.Event)

    def create(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        config = self.store.get(CONFIG, request["EndpointConfigName"], region)
        record = self.store.create(
            ENDPOINT,
            request["EndpointName"],
            region,
            request,
            status="Creating",
            generation=1,
            **self._served(config),
        )
        self._start_thread(self._deploy, record["name"])
        return {"EndpointArn": record["arn"]}

    def describe(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        record = self.store.get(ENDPOINT, request["EndpointName"], region)
        answer = {**self._summary(record), "EndpointConfigName": record["config"]}
        if record["status"] not in ("Creating", "Failed"):
            answer["ProductionVariants"] = [_variant_summary(record)]
        if record.get("failure_reason"):
            answer["FailureReason"] = record["failure_reason"]
        return answer

    def list(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        summaries = [self._summary(record) for record in self.store.all(ENDPOINT, region)]
        chosen = selected(summaries, request, name="EndpointName", status="EndpointStatus")
        return page(chosen, request, "Endpoints")

    def update(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        record = self.store.get(ENDPOINT, request["EndpointName"], region)
        config = self.store.get(CONFIG, request["EndpointConfigName"], region)
        if record["status"] != "InService":
            raise ServiceError("ValidationException", f'Cannot update in-progress endpoint "{record["arn"]}".')
        served = self._served(config)
        changes = {"status": "Updating", "generation": record["generation"] + 1, "failure_reason": None}
        self.store.change(ENDPOINT, record["name"], **changes)
        self._start_thread(self._replace, record["name"], served)
        return {"EndpointArn": record["arn"]}

    def delete(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        record = self.store.get(ENDPOINT, request["EndpointName"], region)
        if record["status"] in ("Creating", "Updating", "RollingBack"):
            raise ServiceError("ValidationException", f'Cannot update in-progress endpoint "{record["arn"]}".')
        self.store.change(ENDPOINT, record["name"], status="Deleting")
        self._start_thread(self._remove, record["name"])
        return {}

    def invoke(self, name: str, body: bytes, headers: Mapping[str, str], region: str) -> Answer:
        """Send a request to the model.

        Raises:
            ServiceError: there is no such endpoint, the request is too large, or the model refuses it (ModelError).
        """
        record = self.store.find(ENDPOINT, name)
        container = self._containers.get(name)
        usable = record is not None and record["region"] == region
        usable = usable and record is not None and record["status"] in ("InService", "Updating", "RollingBack")
        if record is None or not usable or container is None:
            raise ServiceError("ValidationError", f"Endpoint {name} of account {ACCOUNT} not found.")
        variant = record["variant"]
        target = headers.get(f"{_FORWARDED_PREFIX}target-variant", variant["VariantName"])
        if target != variant["VariantName"]:
            raise ServiceError("ValidationError", f"Variant {target} of endpoint {name} not found.")
        max_bytes = _MAX_SERVERLESS_BYTES if "ServerlessConfig" in variant else _MAX_BODY_BYTES
        if len(body) > max_bytes:
            raise ServiceError(
                "ValidationError", f"Request body of {len(body)} bytes exceeds the {max_bytes} allowed.", 413
            )
        forwarded = {k: v for k, v in headers.items() if k in _FORWARDED or k.startswith(_FORWARDED_PREFIX)}
        try:
            reply = container.invoke(body, forwarded, seconds=_INVOKE_SECONDS)
        except EndpointError as error:
            raise _model_error(record, 0, str(error)) from error
        if not 200 <= reply.status < 300:
            raise _model_error(record, reply.status, reply.body.decode("utf-8", errors="replace"))
        return Answer(reply.body, 200, _runtime_headers(reply, target))

    def log_file(self, name: str) -> Path:
        """The log of an endpoint's containers."""
        return self._folder(name) / "log.txt"

    def resume(self) -> None:
        """Restart the endpoints of an earlier emulator."""
        for record in self.store.all(ENDPOINT):
            if record["status"] == "Deleting":
                self._start_thread(self._remove, record["name"])
            elif record["status"] != "Failed":
                self.store.change(ENDPOINT, record["name"], status="Creating")
                self._start_thread(self._deploy, record["name"])

    def close(self) -> None:
        """Stop all containers; `resume` restarts them."""
        self._closing.set()
        for container in list(self._containers.values()):
            container.end()
        for thread in self._threads:
            thread.join(timeout=10)

    def _start_thread(self, work: Any, *arguments: Any) -> None:
        thread = threading.Thread(target=work, args=arguments, name=f"endpoint {arguments[0]}", daemon=True)
        self._threads = [each for each in self._threads if each.is_alive()] + [thread]
        thread.start()

    def _deploy(self, name: str) -> None:
        record = self.store.find(ENDPOINT, name)
        assert record is not None
        try:
            self._containers[name] = self._started(record)
        except Exception as error:  # noqa: BLE001 - the endpoint must not remain in Creating
            if not self._closing.is_set():
                self.store.change(ENDPOINT, name, status="Failed", failure_reason=str(error)[:1024])
            return
        self.store.change(ENDPOINT, name, status="InService")

    def _replace(self, name: str, served: Mapping[str, Any]) -> None:
        record = self.store.find(ENDPOINT, name)
        assert record is not None
        try:
            fresh = self._started({**record, **served})
        except Exception as error:  # noqa: BLE001 - as above
            self.store.change(ENDPOINT, name, status="RollingBack", failure_reason=str(error)[:1024])
            self.store.change(ENDPOINT, name, status="InService")
            return
        old = self._containers[name]
        self._containers[name] = fresh
        self.store.change(ENDPOINT, name, status="InService", failure_reason=None, **served)
        old.end()

    def _remove(self, name: str) -> None:
        container = self._containers.pop(name, None)
        if container is not None:
            container.end()
        shutil.rmtree(self._folder(name), ignore_errors=True)
        self.store.delete(ENDPOINT, name)

    def _started(self, record: Record) -> Container:
        name, variant = record["name"], record["variant"]
        fault = self.faults.job_failure("Endpoint", name)
        if fault is not None:
            plain = fault == "health-check"
            raise EndpointError(NO_PING.format(variant=variant["VariantName"]) if plain else fault)
        folder = self._folder(name) / str(record["generation"])
        folder.mkdir(parents=True, exist_ok=True)
        container = Container(
            folder,
            record["definition"],
            python=self.python,
            variant=variant["VariantName"],
            log_file=self.log_file(name),
            access=self.access.as_role(
                f"{record['arn']}/{record['generation']}", record.get("role", ""), record["region"]
            ),
        )
        seconds = variant.get("ContainerStartupHealthCheckTimeoutInSeconds", _HEALTH_SECONDS)
        container.start(self.storage, seconds=min(seconds, _HEALTH_SECONDS))
        return container

    def _served(self, config: Record) -> dict[str, Any]:
        """Copies of the configuration and the model, which may be deleted later."""
        variant = config["request"]["ProductionVariants"][0]
        model = self.store.get(MODEL, variant["ModelName"], config["region"])
        return {
            "config": config["name"],
            "variant": variant,
            "definition": served_container(model),
            "role": model["request"]["ExecutionRoleArn"],
        }

    def _folder(self, name: str) -> Path:
        return self.store.root / "served" / name

    def _summary(self, record: Record) -> dict[str, Any]:
        return {
            "EndpointName": record["name"],
            "EndpointArn": record["arn"],
            "CreationTime": record["created"],
            "LastModifiedTime": record["modified"],
            "EndpointStatus": self.faults.lags.endpoint_status(record, now=self.store.clock()),
        }


def _variant_summary(record: Record) -> dict[str, Any]:
    variant, image = record["variant"], record["definition"]["Image"]
    weight = variant.get("InitialVariantWeight", 1.0)
    summary = {
        "VariantName": variant["VariantName"],
        "DeployedImages": [{"SpecifiedImage": image, "ResolvedImage": image, "ResolutionTime": record["created"]}],
        "CurrentWeight": weight,
        "DesiredWeight": weight,
    }
    if "ServerlessConfig" in variant:
        config = variant["ServerlessConfig"]
        return summary | {"CurrentServerlessConfig": config, "DesiredServerlessConfig": config}
    count = variant["InitialInstanceCount"]
    return summary | {"CurrentInstanceCount": count, "DesiredInstanceCount": count}


def _model_error(record: Record, status: int, message: str) -> ServiceError:
    kind = "client" if 400 <= status < 500 else "server"
    region, group = record["region"], ENDPOINT_GROUP + record["name"]
    sentence = (
        f'Received {kind} error ({status}) from primary with message "{message}". See '
        f"https://{region}.console.aws.amazon.com/cloudwatch/home?region={region}#logEventViewer:group={group} in "
        f"account {ACCOUNT} for more information."
    )
    return ServiceError(
        "ModelError",
        sentence,
        424,
        OriginalStatusCode=status,
        OriginalMessage=message,
        LogStreamArn=f"arn:aws:logs:{region}:{ACCOUNT}:log-group:{group}",
    )


def _runtime_headers(reply: Reply, variant: str) -> dict[str, str]:
    headers = {name: value for name, value in reply.headers.items() if name.lower() == "content-type"}
    headers |= {name: value for name, value in reply.headers.items() if name.lower().startswith(_FORWARDED_PREFIX)}
    return headers | {"x-Amzn-Invoked-Production-Variant": variant}
