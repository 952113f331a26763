"""The serving half of SageMaker in a test's own process: it keeps state, refuses as AWS does, and really serves models.

boto3's clients are the real ones, so that requests are checked by botocore; what they would send is answered here. A
model is unpacked from S3 and answered for by breedclf's own server.
"""

from __future__ import annotations

import contextlib
import io
import json
import tarfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import urllib3

from breedclf.backends.sagemaker.clients import AwsClients
from tests.serving.conftest import running

ACCOUNT = "111122223333"
REGION = "eu-west-1"
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


class RefusedError(Exception):
    """What AWS answers instead: its code, its sentence, HTTP's status."""

    def __init__(self, message: str, code: str = "ValidationException", status: int = 400, **fields: Any) -> None:
        super().__init__(message)
        self.code, self.status, self.fields = code, status, fields


class ModelServers:
    """Servers of model folders, started when they are first asked and shared by tests, since loading takes seconds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._running = contextlib.ExitStack()
        self._urls: dict[Path, str] = {}

    def url_of(self, model: Path) -> str:
        if model not in self._urls:
            self._urls[model] = self._running.enter_context(running(model))[0]
        return self._urls[model]

    def close(self) -> None:
        self._running.close()


AWS_WORDS = {
    "missing": 'Could not find {kind} "{arn}".',
    "taken": 'Cannot create already existing {kind} "{arn}".',
    "busy": 'Cannot update in-progress {kind} "{arn}".',
}


class FakeServing:
    """Endpoints by name; `pending_looks` descriptions pass before a change is through; refusals are in its `words`."""

    def __init__(self, s3_url: str, servers: ModelServers) -> None:
        self.pending_looks = 1
        self.unseen_looks = 0
        self.answers_lost: set[str] = set()
        self.words = dict(AWS_WORDS)
        self.refuse_next: dict[str, list[RefusedError]] = {}
        self.fail_next_change: str | None = None
        self.served_instead: dict[str, Path] = {}
        self.calls: list[str] = []
        self.bodies: list[tuple[str, dict[str, Any]]] = []
        self.models: dict[str, dict[str, Any]] = {}
        self.configs: dict[str, dict[str, Any]] = {}
        self.endpoints: dict[str, dict[str, Any]] = {}
        self.transforms: dict[str, dict[str, Any]] = {}
        self.schedules: dict[str, dict[str, Any]] = {}
        self._tags: dict[str, dict[str, str]] = {}
        self._moments = 0
        self._servers = servers
        self._pool = urllib3.PoolManager(retries=False)
        session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name=REGION)
        self.clients = AwsClients(session, REGION, s3_url)
        self.s3 = self.clients("s3")
        for service in ("sagemaker", "sagemaker-runtime", "scheduler"):
            self.clients(service).meta.events.register("before-call", self._answer)

    def _answer(self, model: Any, params: dict[str, Any], **_: Any) -> tuple[Any, dict[str, Any]]:
        operation = model.name
        self.calls.append(operation)
        retries = 0
        try:
            if self.refuse_next.get(operation):
                raise self.refuse_next[operation].pop(0)
            if operation == "InvokeEndpoint":
                return _Http(200), self._invoke(params)
            request = json.loads(params["body"] or b"{}")
            if operation.endswith("Schedule"):
                request["Name"] = params["url_path"].rpartition("/")[2]
            self.bodies.append((operation, request))
            handler: Callable[..., dict[str, Any]] = getattr(self, f"_{operation}")
            if operation in self.answers_lost:
                self.answers_lost.remove(operation)
                handler(**request)
                retries = 1
            return _Http(200), {**handler(**request), "ResponseMetadata": {"HTTPStatusCode": 200}}
        except RefusedError as error:
            details = {"Code": error.code, "Message": str(error)}
            metadata = {"HTTPStatusCode": error.status, "RetryAttempts": retries}
            return _Http(error.status), {"Error": details, "ResponseMetadata": metadata, **error.fields}

    def _arn(self, kind: str, name: str) -> str:
        return f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:{kind}/{name.lower()}"

    def _refusal(self, what: str, kind: str, name: str) -> RefusedError:
        return RefusedError(self.words[what].format(kind=kind.replace("-", " "), arn=self._arn(kind, name)))

    def _new(self, kind: str, table: dict[str, Any], name: str, request: dict[str, Any]) -> str:
        arn = self._arn(kind, name)
        if name in table:
            raise self._refusal("taken", kind, name)
        table[name] = request
        self._tags[arn] = {tag["Key"]: tag["Value"] for tag in request.get("Tags", ())}
        return arn

    def _known(self, kind: str, table: dict[str, Any], name: str) -> dict[str, Any]:
        if name not in table:
            raise self._refusal("missing", kind, name)
        found: dict[str, Any] = table[name]
        return found

    def _CreateSchedule(self, **request: Any) -> dict[str, Any]:  # noqa: N802 - the operations' own names
        if request["Name"] in self.schedules:
            raise RefusedError("There is one of that name", "ConflictException", 409)
        self.schedules[request["Name"]] = request
        return {"ScheduleArn": "arn"}

    def _DeleteSchedule(self, Name: str) -> dict[str, Any]:  # noqa: N802, N803
        if self.schedules.pop(Name, None) is None:
            raise RefusedError("It is unknown", "ResourceNotFoundException", 404)
        return {}

    def _CreateModel(self, **request: Any) -> dict[str, Any]:  # noqa: N802 - the operations' own names
        uri = request["PrimaryContainer"]["ModelDataUrl"].removeprefix("s3://")
        bucket, _, key = uri.partition("/")
        self.s3.head_object(Bucket=bucket, Key=key)
        return {"ModelArn": self._new("model", self.models, request["ModelName"], request)}

    def _DescribeModel(self, ModelName: str) -> dict[str, Any]:  # noqa: N802, N803
        return self._known("model", self.models, ModelName)

    def _DeleteModel(self, ModelName: str) -> dict[str, Any]:  # noqa: N802, N803
        self._known("model", self.models, ModelName)
        del self.models[ModelName]
        return {}

    def _ListModels(self, NameContains: str = "", **_: Any) -> dict[str, Any]:  # noqa: N802, N803
        return {"Models": [{"ModelName": name} for name in self.models if NameContains in name]}

    def _CreateEndpointConfig(self, **request: Any) -> dict[str, Any]:  # noqa: N802
        for variant in request["ProductionVariants"]:
            self._known("model", self.models, variant["ModelName"])
            if ("ServerlessConfig" in variant) == ("InstanceType" in variant):
                raise RefusedError("One of InstanceType and ServerlessConfig must be given.")
        name = request["EndpointConfigName"]
        return {"EndpointConfigArn": self._new("endpoint-config", self.configs, name, request)}

    def _DescribeEndpointConfig(self, EndpointConfigName: str) -> dict[str, Any]:  # noqa: N802, N803
        return self._known("endpoint-config", self.configs, EndpointConfigName)

    def _DeleteEndpointConfig(self, EndpointConfigName: str) -> dict[str, Any]:  # noqa: N802, N803
        self._known("endpoint-config", self.configs, EndpointConfigName)
        for endpoint in self.endpoints.values():
            if EndpointConfigName in (endpoint["config"], endpoint.get("next")) and endpoint["status"] != "Deleting":
                raise AssertionError(f"{EndpointConfigName} is in use")
        del self.configs[EndpointConfigName]
        return {}

    def _ListEndpointConfigs(self, NameContains: str = "", **_: Any) -> dict[str, Any]:  # noqa: N802, N803
        found = [{"EndpointConfigName": name} for name in self.configs if NameContains in name]
        return {"EndpointConfigs": found}

    def _CreateEndpoint(self, **request: Any) -> dict[str, Any]:  # noqa: N802
        name, config = request["EndpointName"], request["EndpointConfigName"]
        self._known("endpoint-config", self.configs, config)
        arn = self._new("endpoint", self.endpoints, name, request)
        self.endpoints[name] = {"config": config, "status": "Creating", "looks": self.pending_looks}
        self.endpoints[name] |= {"created": self._moment(), "unseen": self.unseen_looks, "reason": None}
        self._touch(name)
        return {"EndpointArn": arn}

    def _UpdateEndpoint(self, **request: Any) -> dict[str, Any]:  # noqa: N802
        name, config = request["EndpointName"], request["EndpointConfigName"]
        endpoint = self._settled(name)
        self._known("endpoint-config", self.configs, config)
        endpoint |= {"status": "Updating", "next": config, "looks": self.pending_looks, "reason": None}
        self._touch(name)
        return {"EndpointArn": self._arn("endpoint", name)}

    def _DeleteEndpoint(self, EndpointName: str) -> dict[str, Any]:  # noqa: N802, N803
        self._settled(EndpointName)
        self.endpoints[EndpointName] |= {"status": "Deleting", "looks": self.pending_looks}
        return {}

    def _settled(self, name: str) -> dict[str, Any]:
        endpoint = self._known("endpoint", self.endpoints, name)
        if endpoint["status"] not in ("InService", "Failed"):
            raise self._refusal("busy", "endpoint", name)
        return endpoint

    def _DescribeEndpoint(self, EndpointName: str) -> dict[str, Any]:  # noqa: N802, N803
        endpoint = self._known("endpoint", self.endpoints, EndpointName)
        if endpoint["unseen"]:
            endpoint["unseen"] -= 1
            raise self._refusal("missing", "endpoint", EndpointName)
        self._go_on(EndpointName, endpoint)
        if EndpointName not in self.endpoints:
            raise self._refusal("missing", "endpoint", EndpointName)
        variant = self.configs.get(endpoint["config"], {"ProductionVariants": [{}]})["ProductionVariants"][0]
        summary = {"VariantName": "AllTraffic"}
        if "ServerlessConfig" in variant:
            summary["CurrentServerlessConfig"] = variant["ServerlessConfig"]
        described = {
            "EndpointName": EndpointName,
            "EndpointArn": self._arn("endpoint", EndpointName),
            "EndpointConfigName": endpoint["config"],
            "EndpointStatus": endpoint["status"],
            "ProductionVariants": [summary],
            "CreationTime": endpoint["created"],
            "LastModifiedTime": endpoint["modified"],
        }
        return described | ({"FailureReason": endpoint["reason"]} if endpoint["reason"] else {})

    def _go_on(self, name: str, endpoint: dict[str, Any]) -> None:
        if endpoint["status"] not in ("Creating", "Updating", "Deleting"):
            return
        if endpoint["looks"]:
            endpoint["looks"] -= 1
            return
        if endpoint["status"] == "Deleting":
            del self.endpoints[name]
            del self._tags[self._arn("endpoint", name)]
            return
        reason, self.fail_next_change = self.fail_next_change, None
        failed = endpoint["status"] == "Creating" and reason
        endpoint |= {"status": "Failed" if failed else "InService", "reason": reason}
        if (after := endpoint.pop("next", None)) and not reason:
            endpoint["config"] = after
        self._touch(name)

    def _ListEndpoints(self, **_: Any) -> dict[str, Any]:  # noqa: N802
        found = sorted(self.endpoints.items(), key=lambda each: each[1]["created"])
        return {"Endpoints": [{"EndpointName": name, "EndpointArn": self._arn("endpoint", name)} for name, _ in found]}

    def _ListTags(self, ResourceArn: str, **_: Any) -> dict[str, Any]:  # noqa: N802, N803
        return {"Tags": [{"Key": key, "Value": value} for key, value in self._tags[ResourceArn].items()]}

    def _AddTags(self, ResourceArn: str, Tags: list[dict[str, str]]) -> dict[str, Any]:  # noqa: N802, N803
        self._tags[ResourceArn] |= {tag["Key"]: tag["Value"] for tag in Tags}
        return {}

    def tags(self, endpoint: str) -> dict[str, str]:
        return self._tags[self._arn("endpoint", endpoint)]

    def _CreateTransformJob(self, **request: Any) -> dict[str, Any]:  # noqa: N802
        name = request["TransformJobName"]
        model = self._known("model", self.models, request["ModelName"])
        arn = self._new("transform-job", self.transforms, name, request)
        source = request["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"].removeprefix("s3://")
        bucket, _, prefix = source.partition("/")
        output = request["TransformOutput"]["S3OutputPath"].removeprefix(f"s3://{bucket}/")
        reason = self.fail_next_change
        self.fail_next_change = None
        for entry in self.s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", ()):
            body = self.s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read()
            answer = self._pool.request(
                "POST",
                f"{self._url(model['PrimaryContainer']['ModelDataUrl'])}/invocations",
                body=body,
                headers={"Content-Type": request["TransformInput"]["ContentType"]},
            )
            if reason and entry["Key"].endswith("1"):
                continue
            if answer.status == 200:
                key = f"{output}/{entry['Key'].removeprefix(prefix)}.out"
                self.s3.put_object(Bucket=bucket, Key=key, Body=answer.data)
            else:
                reason = "ClientError: see the job's log"
        self.transforms[name] |= {"status": "Failed" if reason else "Completed", "reason": reason, "looks": 2}
        return {"TransformJobArn": arn}

    def _DescribeTransformJob(self, TransformJobName: str) -> dict[str, Any]:  # noqa: N802, N803
        job = self._known("transform-job", self.transforms, TransformJobName)
        job["looks"] -= 1
        status = "InProgress" if job["looks"] >= 0 else job["status"]
        return {"TransformJobStatus": status} | ({"FailureReason": job["reason"]} if job["reason"] else {})

    def _StopTransformJob(self, TransformJobName: str) -> dict[str, Any]:  # noqa: N802, N803
        self._known("transform-job", self.transforms, TransformJobName)["status"] = "Stopped"
        return {}

    def _invoke(self, params: dict[str, Any]) -> dict[str, Any]:
        name = params["url_path"].split("/")[2]
        endpoint = self._known("endpoint", self.endpoints, name)
        model = self.models[self.configs[endpoint["config"]]["ProductionVariants"][0]["ModelName"]]
        url = self._url(model["PrimaryContainer"]["ModelDataUrl"])
        headers = {"Content-Type": params["headers"]["Content-Type"]}
        answer = self._pool.request("POST", f"{url}/invocations", body=params["body"], headers=headers)
        if answer.status != 200:
            fields = {"OriginalStatusCode": answer.status, "OriginalMessage": answer.data.decode()}
            raise RefusedError(f"Received error {answer.status} from primary", "ModelError", 424, **fields)
        return {"Body": io.BytesIO(answer.data), "ResponseMetadata": {"HTTPStatusCode": 200}}

    def _url(self, uri: str) -> str:
        """A server of the model that S3 has under this address, or of the one that the test put in its place."""
        if uri in self.served_instead:
            return self._servers.url_of(self.served_instead[uri])
        folder = self._servers.folder / uri.split("/")[-2]
        if not folder.exists():
            bucket, _, key = uri.removeprefix("s3://").partition("/")
            archive = self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
            with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
                tar.extractall(folder, filter="data")
        return self._servers.url_of(folder)

    def _moment(self) -> datetime:
        self._moments += 1
        return datetime.fromtimestamp(NOW.timestamp() + self._moments / 1000, UTC)

    def _touch(self, name: str) -> None:
        self.endpoints[name]["modified"] = self._moment()


class _Http:
    def __init__(self, status_code: int) -> None:
        self.status_code = status_code


class FakeClock:
    """A clock that advances on sleep and records every sleep."""

    def __init__(self) -> None:
        self.now = NOW.timestamp()
        self.slept: list[float] = []

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float, /) -> None:
        self.slept.append(seconds)
        self.now += seconds
