"""The operations of CloudWatch Logs on the log files of jobs and endpoints."""

from __future__ import annotations

import bisect
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from breedclf.backends.emulator.delays import Lags
from breedclf.backends.emulator.protocol import ACCOUNT, ServiceError
from breedclf.text.json_lines import read_json_lines

TRAINING_GROUP = "/aws/sagemaker/TrainingJobs"
_DEFAULT_EVENTS = 10_000
_DEFAULT_STREAMS = 50
_MAX_DIGITS = 18


@dataclass(frozen=True)
class Stream:
    """A log stream: its name, creation time (seconds since 1970), log file, and the file with the times of its sizes.

    A last line without a newline is held back until the stream has `ended`.
    """

    group: str
    name: str
    created: float
    file: Path
    times: Path | None = None
    ended: bool = False

    def lines(self) -> list[tuple[int, str]]:
        """The complete lines so far, each with its time in milliseconds."""
        try:
            data = self.file.read_bytes()
        except FileNotFoundError:
            return []
        marks = self._marks()
        sizes = [size for _, size in marks]
        found = []
        position = 0
        for line in data.splitlines(keepends=True):
            if not line.endswith(b"\n") and not self.ended:
                break
            at = bisect.bisect_right(sizes, position)
            time = marks[min(at, len(marks) - 1)][0] if marks else self.created
            position += len(line)
            found.append((round(1000 * time), line.rstrip(b"\r\n").decode("utf-8", errors="replace")))
        return found

    def _marks(self) -> list[tuple[float, int]]:
        if self.times is None:
            return []
        return [(time, size) for time, size in read_json_lines(self.times)]


class Logs:
    """The operations on logs; `streams` returns the streams of a group, `lags` the delay of their lines."""

    def __init__(
        self,
        streams: Callable[[str, str], list[Stream]],
        lags: Callable[[], Lags] = Lags,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._streams = streams
        self._lags = lags
        self._clock = clock

    def describe_log_groups(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        names = [TRAINING_GROUP]
        chosen = [name for name in names if name.startswith(request.get("logGroupNamePrefix", ""))]
        return {"logGroups": [_group(region, name) for name in chosen]}

    def describe_log_streams(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        streams = self._of_group(request, region)
        prefix = request.get("logStreamNamePrefix", "")
        chosen = [stream for stream in streams if stream.name.startswith(prefix)]
        if request.get("orderBy") == "LastEventTime":
            chosen.sort(key=lambda stream: stream.created)
        else:
            chosen.sort(key=lambda stream: stream.name)
        if request.get("descending"):
            chosen.reverse()
        start = _position(request.get("nextToken"), "s")
        end = start + request.get("limit", _DEFAULT_STREAMS)
        answer: dict[str, Any] = {"logStreams": [_described(stream, region) for stream in chosen[start:end]]}
        return answer | ({"nextToken": f"s/{end}"} if end < len(chosen) else {})

    def get_log_events(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        stream = self._one(request, region)
        events = _between(self._lines(stream), request)
        limit = request.get("limit", _DEFAULT_EVENTS)
        token = request.get("nextToken", "")
        if token.startswith("b/"):
            end = min(_position(token, "b"), len(events))
            start = max(0, end - limit)
        elif token:
            start = min(_position(token, "f"), len(events))
            end = min(start + limit, len(events))
        elif request.get("startFromHead"):
            start, end = 0, min(limit, len(events))
        else:
            start, end = max(0, len(events) - limit), len(events)
        return {
            "events": [_event(time, text) for time, text in events[start:end]],
            "nextForwardToken": f"f/{end}",
            "nextBackwardToken": f"b/{start}",
        }

    def filter_log_events(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        """The events of several streams by time; a pattern is plain text with or without quotes."""
        prefix, names = request.get("logStreamNamePrefix", ""), request.get("logStreamNames")
        pattern = request.get("filterPattern", "").strip().strip('"')
        found = []
        for stream in self._of_group(request, region):
            if stream.name.startswith(prefix) and (names is None or stream.name in names):
                for number, (time, text) in enumerate(_between(self._lines(stream), request)):
                    if pattern in text:
                        found.append((time, stream.name, number, text))
        found.sort(key=lambda each: each[:3])
        start = _position(request.get("nextToken"), "e")
        end = start + request.get("limit", _DEFAULT_EVENTS)
        events = [
            {**_event(time, text), "logStreamName": name, "eventId": f"{name}/{number}"}
            for time, name, number, text in found[start:end]
        ]
        answer: dict[str, Any] = {"events": events, "searchedLogStreams": []}
        return answer | ({"nextToken": f"e/{end}"} if end < len(found) else {})

    def _lines(self, stream: Stream) -> list[tuple[int, str]]:
        """The lines that have arrived; a late line holds back those after it."""
        lines, lags, now = stream.lines(), self._lags(), self._clock()
        late = next(
            (at for at, (time, _) in enumerate(lines) if lags.hides_log_line(time / 1_000, now=now)), len(lines)
        )
        return lines[:late]

    def _of_group(self, request: Mapping[str, Any], region: str) -> list[Stream]:
        group = request.get("logGroupName") or request.get("logGroupIdentifier", "").rpartition(":")[2]
        streams = self._streams(group, region)
        if not streams:
            raise ServiceError("ResourceNotFoundException", "The specified log group does not exist.")
        return streams

    def _one(self, request: Mapping[str, Any], region: str) -> Stream:
        for stream in self._of_group(request, region):
            if stream.name == request["logStreamName"]:
                return stream
        raise ServiceError("ResourceNotFoundException", "The specified log stream does not exist.")


def _between(events: list[tuple[int, str]], request: Mapping[str, Any]) -> list[tuple[int, str]]:
    start, end = request.get("startTime", 0), request.get("endTime", float("inf"))
    return [(time, text) for time, text in events if start <= time < end and text]


def _event(time: int, text: str) -> dict[str, Any]:
    return {"timestamp": time, "message": text, "ingestionTime": time}


def _described(stream: Stream, region: str) -> dict[str, Any]:
    lines = stream.lines()
    answer = {
        "logStreamName": stream.name,
        "creationTime": round(1000 * stream.created),
        "arn": f"{_arn(region, stream.group)}:log-stream:{stream.name}",
        "storedBytes": 0,
    }
    if lines:
        first, last = lines[0][0], lines[-1][0]
        answer |= {"firstEventTimestamp": first, "lastEventTimestamp": last, "lastIngestionTime": last}
    return answer


def _position(token: str | None, kind: str) -> int:
    if not token:
        return 0
    word, _, number = token.partition("/")
    if word != kind or not number.isdecimal() or len(number) > _MAX_DIGITS:
        raise ServiceError("InvalidParameterException", "The specified nextToken is invalid.")
    return int(number)


def _group(region: str, name: str) -> dict[str, Any]:
    return {"logGroupName": name, "arn": f"{_arn(region, name)}:*", "creationTime": 0, "storedBytes": 0}


def _arn(region: str, group: str) -> str:
    return f"arn:aws:logs:{region}:{ACCOUNT}:log-group:{group}"
