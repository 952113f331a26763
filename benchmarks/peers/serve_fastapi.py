"""A FastAPI server as in its documentation: each request runs in a thread of the pool, without batching.

python -m benchmarks.peers.serve_fastapi MODEL PORT
"""

from __future__ import annotations

import sys
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool

from benchmarks.peers.engine import answer_of, load_engine


def main() -> None:
    model, port = sys.argv[1:]
    engine = load_engine(model)
    app = FastAPI()

    def answer(picture: bytes) -> dict[str, Any]:
        return answer_of(engine.forward([engine.decode(picture)])[0])

    @app.post("/invocations")
    async def invocations(request: Request) -> dict[str, Any]:
        return await run_in_threadpool(answer, await request.body())

    uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="warning")


if __name__ == "__main__":
    main()
