"""A LitServe server with batches of up to 16 images; it accepts images as form uploads, as in its documentation.

python -m benchmarks.peers.serve_litserve MODEL PORT

Without postponed annotations: LitServe looks at the class itself that annotates a request.
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import litserve
from fastapi import Request

from benchmarks.peers.engine import answer_of, load_engine

BATCH = 16
BATCH_SECONDS = 0.01


class Breeds(litserve.LitAPI):
    def __init__(self, model: str) -> None:
        super().__init__(max_batch_size=BATCH, batch_timeout=BATCH_SECONDS, api_path="/invocations")
        self._model = model

    def setup(self, device: str) -> None:
        del device
        self._engine = load_engine(self._model)
        self._decoders = ThreadPoolExecutor(2)

    def decode_request(self, request: Request) -> bytes:
        return bytes(request["image"].file.read())

    def predict(self, images: list[bytes]) -> list[dict[str, Any]]:
        inputs = list(self._decoders.map(self._engine.decode, images))
        return [answer_of(each) for each in self._engine.forward(inputs)]

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        return output


if __name__ == "__main__":
    folder, number = sys.argv[1:]
    litserve.LitServer(Breeds(folder), accelerator="cpu", timeout=120).run(
        host="127.0.0.1", port=int(number), generate_client_file=False, log_level="warning"
    )
