"""How a training job is carried out: S3 down, a job of the local back end, S3 up; resumed where a restart left it."""

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

from breedclf.backends.emulator.access.keys import Access, write_private
from breedclf.backends.emulator.container.train import ORDER_VARIABLE, submitted
from breedclf.backends.emulator.faults import Faults
from breedclf.backends.emulator.s3.storage import Place, Storage, folder_is_empty
from breedclf.backends.emulator.store import TRAINING, Record, Store
from breedclf.backends.local.backend import LocalBackend
from breedclf.backends.local.processes import Identity, kill_job
from breedclf.errors import BreedclfError, JobError
from breedclf.jobs import MAX_FAILURE_REASON_CHARS, JobDescription, JobSpec, JobStatus
from breedclf.jobs.metric_lines import MetricDefinition

_CONTAINER = Path(__file__).parent / "container"
_LOOK_SECONDS = 0.15
_END_SECONDS, _KILLED_SECONDS = 15.0, 15.0
_LOST = "InternalServerError: We encountered an internal error. Please try again."

log: logging.Logger = logging.getLogger(__name__)


@dataclass
class TrainingRuns:
    """A thread for each job that hasn't ended; what they know is in the store, so that others can go on."""

    store: Store
    storage: Storage
    local: LocalBackend
    access: Access
    faults: Faults
    _closing: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def resume(self) -> None:
        """Go on with the jobs that an earlier emulator left."""
        for record in self.store.all(TRAINING):
            if not record.get("ended"):
                self.start(record["name"])

    def start(self, name: str) -> None:
        """Carry out a job in the background."""
        thread = threading.Thread(target=self._carry_out, args=(name,), name=f"job {name}", daemon=True)
        self._threads = [each for each in self._threads if each.is_alive()] + [thread]
        thread.start()

    def job(self, name: str) -> JobDescription | None:
        """What the local back end knows about it; None before it was handed over."""
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
        """Forget a job that has ended, and what it left on this machine; what is in S3 stays."""
        self.store.delete(TRAINING, name)
        shutil.rmtree(self.folder(name), ignore_errors=True)
        if self.job(name) is not None:
            self.local.join(name)
            self.local.delete(name)

    def folder(self, name: str) -> Path:
        """Where a job's order, channels and checkpoints lie."""
        return self.store.root / "runs" / name

    def end_all(self) -> None:
        """Stop every job and wait until its processes have ended and S3 has what it left; by force in the end."""
        began = time.monotonic()
        asked: set[str] = set()
        killed = False
        while running := [record["name"] for record in self.store.all(TRAINING) if not record.get("ended")]:
            for name in set(running) - asked:
                self.stop(name)
                asked.add(name)
            seconds = time.monotonic() - began
            if seconds > _END_SECONDS and not killed:
                for name in running:
                    self._kill(name)
                killed = True
            if seconds > _END_SECONDS + _KILLED_SECONDS:
                log.warning("%d jobs haven't ended in time, such as %s", len(running), running[0])
                return
            time.sleep(_LOOK_SECONDS)

    def close(self) -> None:
        """Leave the jobs to themselves; they go on, and `resume` finds them."""
        self._closing.set()
        for thread in self._threads:
            thread.join(timeout=10)

    def _kill(self, name: str) -> None:
        """End a job's processes without its grace time; who watches them finds that out."""
        folder = self.local.folder(name)
        with contextlib.suppress(JobError):
            process = folder.read().process
            kill_job(None if process is None else Identity.from_dict(process), str(folder.path))

    def _carry_out(self, name: str) -> None:
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
            self._stay_with(record)
        except BreedclfError as error:
            self._end(name, JobStatus.FAILED, "Failed", f"ClientError: {error}")
        except Exception as error:
            log.exception("job %s can't be carried out", name)
            self._end(name, JobStatus.FAILED, "Failed", f"{_LOST} ({type(error).__name__}: {error})")

    def _prepare(self, record: Record) -> None:
        """Bring what the job needs to this machine."""
        name, request = record["name"], record["request"]
        if reason := self.faults.job_failure("TrainingJob", name):
            raise JobError(reason)
        self._enter(record, "Downloading")
        folder = self.folder(name)
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "checkpoints").mkdir(parents=True)
        for channel in request.get("InputDataConfig", ()):
            place = Place.of(channel["DataSource"]["S3DataSource"]["S3Uri"])
            if self.storage.download(place, folder / "channels" / channel["ChannelName"]) == 0:
                raise JobError(f"Data download failed: {place} holds no objects")
        if "CheckpointConfig" in request:
            place = Place.of(request["CheckpointConfig"]["S3Uri"])
            self.storage.download(Place(place.bucket, place.key.rstrip("/") + "/"), folder / "checkpoints")
        source = self._fetch_source(request, folder / "source")
        write_private(folder / "order.json", json.dumps(self._order(record) | {"source": source}))

    def _fetch_source(self, request: Mapping[str, Any], folder: Path) -> str:
        """Fetch an uploaded script from S3 as its image would, for interpreters that have no client of S3; its path."""
        _, uri = submitted(request.get("HyperParameters", {}), request.get("Environment", {}))
        if not uri.startswith("s3://") or request["AlgorithmSpecification"].get("ContainerEntrypoint"):
            return ""
        place = Place.of(uri)
        if self.storage.region_of(place.bucket) is None or not self.storage.download(place, folder):
            raise JobError(f"Code download failed: there is no {place}, which sagemaker_submit_directory names")
        file = folder / place.key.rpartition("/")[2]
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
        longest = request["StoppingCondition"].get("MaxRuntimeInSeconds")
        spec = JobSpec(
            name=record["name"],
            source=_CONTAINER,
            metric_definitions=tuple(MetricDefinition(each["Name"], each["Regex"]) for each in definitions),
            environment={ORDER_VARIABLE: str(self.folder(record["name"]))},
            spot=request.get("EnableManagedSpotTraining", False),
            **({"max_runtime_seconds": longest} if longest else {}),
        )
        parallel = record.get("parallel", 1)
        return self.local.parallel_spec(spec, parallel) if parallel > 1 else spec

    def _stay_with(self, record: Record) -> None:
        """Until the job has ended and its outputs are in S3, or the emulator closes."""
        name = record["name"]
        checkpoints: dict[str, tuple[int, float]] = {}
        times = LogTimes(self.folder(name) / "log-times.jsonl")
        while not self._closing.is_set():
            job = self.local.describe(name)
            times.note(self.local.folder(name).log_file, self.store.clock())
            if "CheckpointConfig" in record["request"]:
                place = Place.of(record["request"]["CheckpointConfig"]["S3Uri"])
                self.storage.upload_changed(self.folder(name) / "checkpoints", place, checkpoints)
            if job.status.is_final:
                self._hand_over(record, job)
                return
            if (self.store.find(TRAINING, name) or {}).get("stop"):
                self.local.stop(name)
            self._closing.wait(_LOOK_SECONDS)

    def _hand_over(self, record: Record, job: JobDescription) -> None:
        """Put what the job left into S3, and only then say that it has ended."""
        name, config = record["name"], record["request"]["OutputDataConfig"]
        target = Place.of(config["S3OutputPath"])
        prefix = f"{target.key.rstrip('/')}/{name}/output".lstrip("/")
        folder = self.local.folder(name)
        if config.get("CompressionType", "GZIP") == "NONE":
            self.storage.upload_changed(folder.model, Place(target.bucket, f"{prefix}/model"), {})
            self.storage.upload_changed(folder.output_data, Place(target.bucket, f"{prefix}/output"), {})
        else:
            for archive, content in (("model.tar.gz", folder.model), ("output.tar.gz", folder.output_data)):
                packed = folder.archives / archive
                if packed.is_file() and (archive == "model.tar.gz" or not folder_is_empty(content)):
                    self.storage.upload_file(packed, Place(target.bucket, f"{prefix}/{archive}"))
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
    """When a log had grown to which size, so that its lines have a time: the file itself has none."""

    file: Path
    _size: int = 0

    def note(self, log_file: Path, now: float) -> None:
        """Remember the log's size if it has grown."""
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
    told = {
        "TrainingInputMode": channel.get("InputMode", algorithm["TrainingInputMode"]),
        "S3DistributionType": source.get("S3DataDistributionType", "FullyReplicated"),
        "RecordWrapperType": channel.get("RecordWrapperType", "None"),
    }
    return told | ({"ContentType": channel["ContentType"]} if channel.get("ContentType") else {})
