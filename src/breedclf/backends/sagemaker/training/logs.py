"""A job's log in CloudWatch, read like a file: from a position, which is a number of characters, and on from there."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from breedclf.backends.sagemaker.aws import error_code, told
from breedclf.errors import JobError

LOG_GROUP = "/aws/sagemaker/TrainingJobs"
_REMEMBERED = 256
_CLOCK_SLACK_MILLISECONDS = 1_000


@dataclass(frozen=True)
class LogEvent:
    """One line of a log, without its end, and when it was written (seconds since 1970)."""

    time: float
    message: str

    @property
    def chars(self) -> int:
        """What the line adds to a position, its end included."""
        return len(self.message) + 1


@dataclass
class JobLogs:
    """The logs of all jobs; where a reader stopped is remembered, so that it goes on without reading it all again.

    CloudWatch keeps a stream for each machine (and, after an interruption, for each new one), and gives out tokens that
    say where to go on. A position stands for the tokens of all streams; one that isn't remembered, as in another
    process, is found again by reading from the begin.
    """

    client: Any
    _marks: OrderedDict[tuple[str, int], Mapping[str, str]] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def read(self, job: str, position: int, *, created: float) -> tuple[list[LogEvent], int]:
        """The next lines from a position, and the position after them; no lines when there are no more by now.

        Args:
            job: the job's name.
            position: 0, or what this method returned.
            created: when the job was created; the streams of an earlier job of the same name are passed over.

        Raises:
            JobError: the log can't be read.
        """
        tokens = {} if position == 0 else self._recall(job, position)
        if tokens is None:
            tokens = self._find(job, position, created)
        with told(f"reading the log of job {job}", JobError):
            events, tokens = self._next(job, tokens, created)
        after = position + sum(event.chars for event in events)
        self._remember(job, after, tokens)
        return events, after

    def forget(self, job: str) -> None:
        """Drop what is remembered of a job, whose name another one may get."""
        with self._lock:
            for key in [key for key in self._marks if key[0] == job]:
                del self._marks[key]

    def delete(self, job: str) -> None:
        """Delete a job's streams, where that is permitted."""
        with told(f"deleting the log of job {job}", JobError):
            for stream in self._streams(job, 0.0):
                self.client.delete_log_stream(logGroupName=LOG_GROUP, logStreamName=stream)

    def _next(self, job: str, tokens: Mapping[str, str], created: float) -> tuple[list[LogEvent], dict[str, str]]:
        """The next page of each stream that is known, or, if they have nothing new, of those that came meanwhile."""
        now = dict(tokens)
        found = [event for stream in tokens for event in self._page(stream, now)]
        if not found:
            fresh = [stream for stream in self._streams(job, created) if stream not in now]
            found = [event for stream in fresh for event in self._page(stream, now)]
        return found, now

    def _page(self, stream: str, tokens: dict[str, str]) -> list[LogEvent]:
        """The next events of a stream, whose token moves on; a page may be empty although another one follows."""
        while True:
            token = tokens.get(stream)
            try:
                answer = self.client.get_log_events(
                    logGroupName=LOG_GROUP,
                    logStreamName=stream,
                    startFromHead=True,
                    **({"nextToken": token} if token else {}),
                )
            except ClientError as error:
                if error_code(error) == "ResourceNotFoundException":
                    return []
                raise
            tokens[stream] = answer["nextForwardToken"]
            events = [
                LogEvent(each["timestamp"] / 1_000, line)
                for each in answer["events"]
                for line in each["message"].split("\n")
            ]
            if events or answer["nextForwardToken"] == token:
                return events

    def _streams(self, job: str, created: float) -> Iterator[str]:
        not_before = created * 1_000 - _CLOCK_SLACK_MILLISECONDS
        pages = self.client.get_paginator("describe_log_streams").paginate(
            logGroupName=LOG_GROUP, logStreamNamePrefix=f"{job}/"
        )
        try:
            for page in pages:
                for stream in page["logStreams"]:
                    if stream.get("creationTime", not_before) >= not_before:
                        yield stream["logStreamName"]
        except ClientError as error:
            if error_code(error) != "ResourceNotFoundException":  # no job has written a log yet
                raise

    def _find(self, job: str, position: int, created: float) -> Mapping[str, str]:
        at, tokens = 0, dict[str, str]()
        with told(f"reading the log of job {job}", JobError):
            while at < position:
                events, tokens = self._next(job, tokens, created)
                if not events:
                    break
                at += sum(event.chars for event in events)
        return tokens

    def _recall(self, job: str, position: int) -> Mapping[str, str] | None:
        with self._lock:
            return self._marks.get((job, position))

    def _remember(self, job: str, position: int, tokens: Mapping[str, str]) -> None:
        with self._lock:
            self._marks[job, position] = dict(tokens)
            self._marks.move_to_end((job, position))
            while len(self._marks) > _REMEMBERED:
                self._marks.popitem(last=False)
