"""Whatever is sent, the answer is 200 or a 4xx with a short message, and the server stays as it is.

BREEDCLF_FUZZ_REQUESTS is the number of requests of the slow test (2,000 if not set), BREEDCLF_FUZZ_SEED their seed.
"""

from __future__ import annotations

import http.client
import json
import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from tests.serving.conftest import draw, encode, post, serving_process
from tests.serving.mutations import Mutated, mutated_requests

COUNT = int(os.environ.get("BREEDCLF_FUZZ_REQUESTS", "2000"))
QUICK_COUNT = 400
SEED = int(os.environ.get("BREEDCLF_FUZZ_SEED", "0"))
CLIENTS = 4
MOST_GROWTH_BYTES = 200 << 20  # over the second half: what the first needed is kept for what comes


@pytest.fixture(scope="module")
def server(model: Path) -> Iterator[tuple[str, psutil.Process]]:
    with serving_process(model) as started:
        yield started


def _send(connection: http.client.HTTPConnection, request: Mutated) -> tuple[int, bytes]:
    connection.putrequest("POST", request.path, skip_accept_encoding=True)
    for name, value in {**request.headers, "Content-Length": str(len(request.body))}.items():
        connection.putheader(name, value)
    connection.endheaders(request.body)
    response = connection.getresponse()
    return response.status, response.read()


def _problem(request: Mutated, status: int, answer: bytes) -> str | None:
    if status == 200:
        return None
    told = f"{request.what}: {status} {answer[:300]!r}"
    if not 400 <= status < 500:
        return told
    if request.path != "/invocations" and not answer.startswith(b"{"):
        return told
    message = json.loads(answer)["error"]["message"]
    return told if len(message) > 450 or "Traceback" in message or 'File "' in message else None


def _all_of(url: str, requests: list[Mutated]) -> tuple[Counter[int], list[str]]:
    host, _, port = url.removeprefix("http://").partition(":")
    seen: Counter[int] = Counter()
    problems = []
    connection = http.client.HTTPConnection(host, int(port), timeout=60)
    for request in requests:
        try:
            status, answer = _send(connection, request)
        except http.client.RemoteDisconnected:  # what came before was refused with the connection's end
            connection.close()
            status, answer = _send(connection, request)
        seen[status] += 1
        if problem := _problem(request, status, answer):
            problems.append(problem)
    connection.close()
    return seen, problems


@pytest.mark.parametrize("count", [QUICK_COUNT, pytest.param(COUNT, marks=pytest.mark.slow)])
def test_mutated_requests(server: tuple[str, psutil.Process], count: int) -> None:
    url, process = server
    requests = list(mutated_requests(count, SEED))
    done, memory = [], []
    with ThreadPoolExecutor(CLIENTS) as pool:
        for half in (requests[: count // 2], requests[count // 2 :]):
            done += pool.map(lambda number, half=half: _all_of(url, half[number::CLIENTS]), range(CLIENTS))
            memory.append(process.memory_info().rss)
    seen = sum((each for each, _ in done), Counter[int]())
    assert [problem for _, problems in done for problem in problems] == []
    assert seen.total() == count
    assert seen[200] > 0
    assert seen[400] > 0
    assert seen[415] > 0
    assert memory[1] - memory[0] < MOST_GROWTH_BYTES
    assert post(url + "/invocations", encode(draw())).status == 200


def test_the_same_seed_draws_the_same_requests() -> None:
    assert list(mutated_requests(30, 7)) == list(mutated_requests(30, 7))
    assert list(mutated_requests(30, 7)) != list(mutated_requests(30, 8))
