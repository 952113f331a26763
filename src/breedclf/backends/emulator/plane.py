"""The emulator put together: every operation by its name, over one store, one S3 and one local back end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from breedclf.backends.emulator.faults import Faults
from breedclf.backends.emulator.identity import answer_identity
from breedclf.backends.emulator.logs import TRAINING_GROUP, Logs, Stream
from breedclf.backends.emulator.protocol import Answer, Call, json_answer, not_emulated
from breedclf.backends.emulator.storage import storage_at
from breedclf.backends.emulator.store import TRAINING, Store
from breedclf.backends.emulator.training import TrainingJobs
from breedclf.backends.emulator.training_run import TrainingRuns
from breedclf.backends.emulator.validation import check_request, known_operation
from breedclf.backends.local.backend import LocalBackend

Operation = Callable[[Mapping[str, Any], str], dict[str, Any]]


@dataclass(frozen=True)
class Options:
    """What an emulator is made of: the local back end, the S3 behind it, and the interpreter that plays images."""

    local: LocalBackend
    s3_endpoint: str
    own_s3: bool = True
    region: str = "us-east-1"


class Plane:
    """Answers calls; `endpoint_url` is where it can be reached itself, which jobs are told."""

    def __init__(self, options: Options, endpoint_url: str) -> None:
        home = Path(options.local.home) / "emulator"
        self.faults = Faults()
        self.store = Store(home, time.time)
        self.local = options.local
        storage = storage_at(options.s3_endpoint, options.region, own_credentials=options.own_s3)
        self.runs = TrainingRuns(self.store, storage, options.local, endpoint_url, self.faults)
        training, logs = TrainingJobs(self.runs), Logs(self._streams)
        self._operations: dict[tuple[str, str], Operation] = {
            ("sagemaker", "CreateTrainingJob"): training.create,
            ("sagemaker", "DescribeTrainingJob"): training.describe,
            ("sagemaker", "ListTrainingJobs"): training.list,
            ("sagemaker", "StopTrainingJob"): training.stop,
            ("sagemaker", "DeleteTrainingJob"): training.delete,
            ("logs", "DescribeLogGroups"): logs.describe_log_groups,
            ("logs", "DescribeLogStreams"): logs.describe_log_streams,
            ("logs", "GetLogEvents"): logs.get_log_events,
            ("logs", "FilterLogEvents"): logs.filter_log_events,
        }

    def start(self) -> None:
        """Go on with what an earlier emulator left."""
        self.runs.resume()

    def close(self) -> None:
        """Stop looking after jobs, which go on."""
        self.runs.close()

    def answer(self, call: Call, body: bytes, parameters: Mapping[str, Any]) -> Answer:
        """The answer to a call that isn't S3's or the runtime's.

        Raises:
            ServiceError: it is refused.
        """
        if call.service in ("sts", "iam"):
            return answer_identity(call, body)
        operation = self._operations.get((call.service, call.operation))
        if operation is None or not known_operation(call.service, call.operation):
            raise not_emulated(call.service, call.operation)
        check_request(call.service, call.operation, parameters)
        return json_answer(operation(parameters, call.region))

    def _streams(self, group: str, region: str) -> list[Stream]:
        if group != TRAINING_GROUP:
            return []
        return [
            Stream(
                group,
                f"{record['name']}/algo-1-{int(record['created'])}",
                record["created"],
                self.local.folder(record["name"]).log_file,
                self.runs.folder(record["name"]) / "log-times.jsonl",
            )
            for record in self.store.all(TRAINING, region)
            if self.local.folder(record["name"]).log_file.is_file()
        ]
