"""A job's log in CloudWatch, read like a file from a position (a number of characters)."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from breedclf.backends.sagemaker.aws_errors import is_missing, translate_aws_errors
from breedclf.errors import JobError

LOG_GROUP = "/aws/sagemaker/TrainingJobs"
_MAX_CACHED = 256
_CLOCK_SLACK_MILLISECONDS = 1_000


@dataclass(frozen=True)
class LogEvent:
    """One log line without its line end, and its time (seconds since 1970)."""

    time: float
    message: str

    @property
    def chars(self) -> int:
        """The number of characters, including the line end."""
        return len(self.message) + 1


@dataclass
class JobLogs:
    """The logs of all jobs; positions of earlier reads are cached, so that a reader continues where it stopped.

    CloudWatch has one stream per machine (and another one after an interruption), and returns tokens to continue from.
    A position maps to the tokens of all streams; an uncached position, as in another process, is found by reading from
    the start. `client` returns boto3's client of CloudWatch Logs.
    """

    client: Callable[[], Any]
    _marks: OrderedDict[tuple[str, int], Mapping[str, str]] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def read(self, job: str, position: int, *, created: float) -> tuple[list[LogEvent], int]:
        """The next lines from a position, and the position after them; no lines if there are no more at the moment.

        Args:
            job: the job's name.
            position: 0, or what this method returned.
            created: when the job was created; streams of an earlier job of the same name are ignored.

        Raises:
            JobError: the log can't be read.
        """
        tokens = {} if position == 0 else self._cached(job, position)
        if tokens is None:
            tokens = self._find(job, position, created)
        with translate_aws_errors(f"reading the log of job {job}", as_=JobError):
            events, tokens = self._next(job, tokens, created)
        after = position + sum(event.chars for event in events)
        self._cache(job, after, tokens)
        return events, after

    def tail(self, job: str, max_lines: int, *, created: float) -> list[LogEvent]:
        """The last lines of the stream that was created last, without reading the others or what is before them.

        Raises:
            JobError: the log can't be read.
        """
        with translate_aws_errors(f"reading the log of job {job}", as_=JobError):
            streams = list(self._streams(job, created))
            if not streams:
                return []
            try:
                answer = self.client().get_log_events(
                    logGroupName=LOG_GROUP, logStreamName=streams[-1], startFromHead=False, limit=max_lines
                )
            except ClientError as error:
                if is_missing(error):
                    return []
                raise
            return _events(answer)

    def forget(self, job: str) -> None:
        """Drop the cached positions of a job."""
        with self._lock:
            for key in [key for key in self._marks if key[0] == job]:
                del self._marks[key]

    def delete(self, job: str) -> None:
        """Delete a job's streams, if permitted."""
        with translate_aws_errors(f"deleting the log of job {job}", as_=JobError):
            for stream in self._streams(job, 0.0):
                self.client().delete_log_stream(logGroupName=LOG_GROUP, logStreamName=stream)

    def _next(self, job: str, tokens: Mapping[str, str], created: float) -> tuple[list[LogEvent], dict[str, str]]:
        """The next page of each known stream or, if they have nothing new, of streams created since."""
        now = dict(tokens)
        found = [event for stream in tokens for event in self._page(stream, now)]
        if not found:
            fresh = [stream for stream in self._streams(job, created) if stream not in now]
            found = [event for stream in fresh for event in self._page(stream, now)]
        return found, now

    def _page(self, stream: str, tokens: dict[str, str]) -> list[LogEvent]:
        """The next events of a stream; updates its token. Empty pages may precede further events."""
        while True:
            token = tokens.get(stream)
            try:
                answer = self.client().get_log_events(
                    logGroupName=LOG_GROUP,
                    logStreamName=stream,
                    startFromHead=True,
                    **({"nextToken": token} if token else {}),
                )
            except ClientError as error:
                if is_missing(error):
                    return []
                raise
            tokens[stream] = answer["nextForwardToken"]
            events = _events(answer)
            if events or answer["nextForwardToken"] == token:
                return events

    def _streams(self, job: str, created: float) -> Iterator[str]:
        not_before = created * 1_000 - _CLOCK_SLACK_MILLISECONDS
        pages = (
            self.client()
            .get_paginator("describe_log_streams")
            .paginate(logGroupName=LOG_GROUP, logStreamNamePrefix=f"{job}/")
        )
        try:
            for page in pages:
                for stream in page["logStreams"]:
                    if stream.get("creationTime", not_before) >= not_before:
                        yield stream["logStreamName"]
        except ClientError as error:
            if not is_missing(error):  # no job has written a log yet
                raise

    def _find(self, job: str, position: int, created: float) -> Mapping[str, str]:
        at, tokens = 0, dict[str, str]()
        with translate_aws_errors(f"reading the log of job {job}", as_=JobError):
            while at < position:
                events, tokens = self._next(job, tokens, created)
                if not events:
                    break
                at += sum(event.chars for event in events)
        return tokens

    def _cached(self, job: str, position: int) -> Mapping[str, str] | None:
        with self._lock:
            return self._marks.get((job, position))

    def _cache(self, job: str, position: int, tokens: Mapping[str, str]) -> None:
        with self._lock:
            self._marks[job, position] = dict(tokens)
            self._marks.move_to_end((job, position))
            while len(self._marks) > _MAX_CACHED:
                self._marks.popitem(last=False)


def _events(answer: Mapping[str, Any]) -> list[LogEvent]:
    return [
        LogEvent(each["timestamp"] / 1_000, line) for each in answer["events"] for line in each["message"].split("\n")
    ]
