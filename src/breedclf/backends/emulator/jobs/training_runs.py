"""Executes training jobs: downloads inputs, runs a job of the local backend, uploads outputs."""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from breedclf.backends.common.folder import job_folder
from breedclf.backends.common.processes import Identity, kill_job
from breedclf.backends.emulator.access.keys import Access, write_private
from breedclf.backends.emulator.container.train import ORDER_VARIABLE, submitted
from breedclf.backends.emulator.faults import Faults
from breedclf.backends.emulator.s3.storage import Storage, folder_is_empty, location_of
from breedclf.backends.emulator.store import TRAINING, Record, Store
from breedclf.backends.local.backend import LocalBackend
from breedclf.errors import BreedclfError, JobError
from breedclf.files.s3_uri import S3Location
from breedclf.jobs import MAX_FAILURE_REASON_CHARS, JobDescription, JobSpec, JobStatus
from breedclf.jobs.metric_lines import MetricDefinition

_CONTAINER = Path(__file__).resolve().parents[1] / "container"
_POLL_SECONDS = 0.15
_END_SECONDS, _KILLED_SECONDS = 15.0, 15.0
_LOST = "InternalServerError: We encountered an internal error. Please try again."

log: logging.Logger = logging.getLogger(__name__)


@dataclass
class TrainingRuns:
    """Runs each job in a thread; its state is in the store, so that another emulator can resume it."""

    store: Store
    storage: Storage
    local: LocalBackend
    access: Access
    faults: Faults
    _closing: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def resume(self) -> None:
        """Resume the running jobs of an earlier emulator."""
        for record in self.store.all(TRAINING):
            if not record.get("ended"):
                self.start(record["name"])

    def start(self, name: str) -> None:
        """Execute a job in the background."""
        thread = threading.Thread(target=self._execute, args=(name,), name=f"job {name}", daemon=True)
        self._threads = [each for each in self._threads if each.is_alive()] + [thread]
        thread.start()

    def job(self, name: str) -> JobDescription | None:
        """The local backend's description of a job; None before it was submitted."""
        try:
            return self.local.describe(name)
        except JobError:
            return None

    def stop(self, name: str) -> None:
        """Ask a job to end."""
        self.store.change(TRAINING, name, stop=True)
        if self.job(name) is not None:
            self.local.stop(name)

    def delete(self, name: str) -> None:
        """Delete a job that has ended, and its files on this machine; its objects in S3 remain."""
        self.store.delete(TRAINING, name)
        shutil.rmtree(self.folder(name), ignore_errors=True)
        if self.job(name) is not None:
            self.local.join(name)
            self.local.delete(name)

    def folder(self, name: str) -> Path:
        """The folder of a job's order, channels and checkpoints."""
        return self.store.root / "runs" / name

    def end_all(self) -> None:
        """Stop all jobs and wait until their outputs are uploaded; kill those that don't end in time."""
        started = time.monotonic()
        stopped: set[str] = set()
        killed = False
        while running := [record["name"] for record in self.store.all(TRAINING) if not record.get("ended")]:
            for name in set(running) - stopped:
                self.stop(name)
                stopped.add(name)
            seconds = time.monotonic() - started
            if seconds > _END_SECONDS and not killed:
                for name in running:
                    self._kill(name)
                killed = True
            if seconds > _END_SECONDS + _KILLED_SECONDS:
                log.warning("%d jobs haven't ended in time, such as %s", len(running), running[0])
                return
            time.sleep(_POLL_SECONDS)

    def close(self) -> None:
        """Stop watching the jobs; they continue, and `resume` finds them."""
        self._closing.set()
        for thread in self._threads:
            thread.join(timeout=10)

    def _kill(self, name: str) -> None:
        """Kill a job's processes; its thread notices."""
        folder = job_folder(self.local.home, name)
        with contextlib.suppress(JobError):
            process = folder.read().process
            kill_job(None if process is None else Identity.from_dict(process), str(folder.path))

    def _execute(self, name: str) -> None:
        record = self.store.find(TRAINING, name)
        try:
            if record is None:
                return
            if self.job(name) is None:
                self._prepare(record)
                if self._closing.is_set():
                    return
                if (self.store.find(TRAINING, name) or {}).get("stop"):
                    self._end(name, JobStatus.STOPPED, "Stopped")
                    return
                self.local.submit(self._spec(record))
            self._follow(record)
        except BreedclfError as error:
            self._end(name, JobStatus.FAILED, "Failed", f"ClientError: {error}")
        except Exception as error:
            log.exception("job %s can't be executed", name)
            self._end(name, JobStatus.FAILED, "Failed", f"{_LOST} ({type(error).__name__}: {error})")

    def _prepare(self, record: Record) -> None:
        """Download the job's inputs."""
        name, request = record["name"], record["request"]
        if reason := self.faults.job_failure("TrainingJob", name):
            raise JobError(reason)
        self._enter(record, "Downloading")
        folder = self.folder(name)
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "checkpoints").mkdir(parents=True)
        for channel in request.get("InputDataConfig", ()):
            location = location_of(channel["DataSource"]["S3DataSource"]["S3Uri"])
            if self.storage.download(location, folder / "channels" / channel["ChannelName"]) == 0:
                raise JobError(f"Data download failed: {location} has no objects")
        if "CheckpointConfig" in request:
            location = location_of(request["CheckpointConfig"]["S3Uri"])
            self.storage.download(S3Location(location.bucket, location.key.rstrip("/") + "/"), folder / "checkpoints")
        source = self._fetch_source(request, folder / "source")
        write_private(folder / "order.json", json.dumps(self._order(record) | {"source": source}))

    def _fetch_source(self, request: Mapping[str, Any], folder: Path) -> str:
        """Download the uploaded script, which the image would do with its own S3 client, and return its path."""
        _, uri = submitted(request.get("HyperParameters", {}), request.get("Environment", {}))
        if not uri.startswith("s3://") or request["AlgorithmSpecification"].get("ContainerEntrypoint"):
            return ""
        location = location_of(uri)
        if self.storage.region_of(location.bucket) is None or not self.storage.download(location, folder):
            raise JobError(f"Code download failed: {location} of sagemaker_submit_directory doesn't exist")
        file = folder / location.key.rpartition("/")[2]
        return str(file if file.is_file() else folder)

    def _order(self, record: Record) -> dict[str, Any]:
        request = record["request"]
        algorithm = request["AlgorithmSpecification"]
        return {
            "name": record["name"],
            "arn": record["arn"],
            "region": record["region"],
            "credentials": self.access.as_role(record["arn"], request["RoleArn"], record["region"]).environment(),
            "image": algorithm["TrainingImage"],
            "entrypoint": algorithm.get("ContainerEntrypoint", []),
            "arguments": algorithm.get("ContainerArguments", []),
            "hyperparameters": request.get("HyperParameters", {}),
            "environment": request.get("Environment", {}),
            "instance_type": request["ResourceConfig"]["InstanceType"],
            "channels": {each["ChannelName"]: _channel(each, algorithm) for each in request.get("InputDataConfig", ())},
        }

    def _spec(self, record: Record) -> JobSpec:
        request = record["request"]
        definitions = request["AlgorithmSpecification"].get("MetricDefinitions", ())
        max_seconds = request["StoppingCondition"].get("MaxRuntimeInSeconds")
        spec = JobSpec(
            name=record["name"],
            source=_CONTAINER,
            metric_definitions=tuple(MetricDefinition(each["Name"], each["Regex"]) for each in definitions),
            environment={ORDER_VARIABLE: str(self.folder(record["name"]))},
            spot=request.get("EnableManagedSpotTraining", False),
            **({"max_runtime_seconds": max_seconds} if max_seconds else {}),
        )
        parallel = record.get("parallel", 1)
        return self.local.parallel_spec(spec, parallel) if parallel > 1 else spec

    def _follow(self, record: Record) -> None:
        """Watch the job until its outputs are uploaded, or the emulator closes."""
        name = record["name"]
        checkpoints: dict[str, tuple[int, float]] = {}
        times = LogTimes(self.folder(name) / "log-times.jsonl")
        while not self._closing.is_set():
            job = self.local.describe(name)
            times.record(job_folder(self.local.home, name).log_file, self.store.clock())
            if "CheckpointConfig" in record["request"]:
                location = location_of(record["request"]["CheckpointConfig"]["S3Uri"])
                self.storage.upload_changed(self.folder(name) / "checkpoints", location, checkpoints)
            if job.status.is_final:
                self._upload_outputs(record, job)
                return
            if (self.store.find(TRAINING, name) or {}).get("stop"):
                self.local.stop(name)
            self._closing.wait(_POLL_SECONDS)

    def _upload_outputs(self, record: Record, job: JobDescription) -> None:
        """Upload the job's outputs, and then mark it as ended."""
        name, config = record["name"], record["request"]["OutputDataConfig"]
        target = location_of(config["S3OutputPath"])
        prefix = f"{target.key.rstrip('/')}/{name}/output".lstrip("/")
        folder = job_folder(self.local.home, name)
        if config.get("CompressionType", "GZIP") == "NONE":
            self.storage.upload_changed(folder.model, S3Location(target.bucket, f"{prefix}/model"), {})
            self.storage.upload_changed(folder.output_data, S3Location(target.bucket, f"{prefix}/output"), {})
        else:
            for archive, content in (("model.tar.gz", folder.model), ("output.tar.gz", folder.output_data)):
                packed = folder.archives / archive
                if packed.is_file() and (archive == "model.tar.gz" or not folder_is_empty(content)):
                    self.storage.upload_file(packed, S3Location(target.bucket, f"{prefix}/{archive}"))
        reason = None
        if job.status is JobStatus.FAILED:
            reason = f"AlgorithmError: {job.failure_reason}"
        self._end(name, job.status, job.secondary_status, reason)

    def _enter(self, record: Record, phase: str) -> None:
        record["phases"] = [*record["phases"], [phase, self.store.clock()]]
        self.store.change(TRAINING, record["name"], phases=record["phases"])

    def _end(self, name: str, status: JobStatus, phase: str, reason: str | None = None) -> None:
        record = self.store.find(TRAINING, name)
        if record is None:
            return
        self.access.keys.revoke(record["arn"])
        now = self.store.clock()
        fields: dict[str, Any] = {"status": status, "ended": now, "phases": [*record["phases"], [phase, now]]}
        if reason:
            fields["failure_reason"] = reason[:MAX_FAILURE_REASON_CHARS]
        self.store.change(TRAINING, name, **fields)


@dataclass
class LogTimes:
    """Records the sizes of a log file over time, which give its lines their times."""

    file: Path
    _size: int = 0

    def record(self, log_file: Path, now: float) -> None:
        """Record the log's size if it has changed."""
        try:
            size = log_file.stat().st_size
        except FileNotFoundError:
            return
        if size != self._size:
            self._size = size
            with self.file.open("a", encoding="utf-8") as file:
                file.write(json.dumps([now, size]) + "\n")


def _channel(channel: Mapping[str, Any], algorithm: Mapping[str, Any]) -> dict[str, str]:
    """A channel in `inputdataconfig.json`."""
    source = channel["DataSource"]["S3DataSource"]
    config = {
        "TrainingInputMode": channel.get("InputMode", algorithm["TrainingInputMode"]),
        "S3DistributionType": source.get("S3DataDistributionType", "FullyReplicated"),
        "RecordWrapperType": channel.get("RecordWrapperType", "None"),
    }
    return config | ({"ContentType": channel["ContentType"]} if channel.get("ContentType") else {})
