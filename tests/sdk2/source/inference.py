"""What the endpoint runs: the handlers of SageMaker's PyTorch images."""

import json
from pathlib import Path


def model_fn(model_dir):
    return json.loads((Path(model_dir) / "weights.json").read_text())


def input_fn(body, content_type):
    if content_type == "application/json":
        return json.loads(body)["image"].encode()
    if content_type == "image/jpeg":
        return bytes(body)
    raise ValueError(f"{content_type} is no image")


def predict_fn(image, model):
    return {"bytes": len(image), "names": model["names"]}


def output_fn(prediction, accept):  # noqa: ARG001 - SageMaker hands it over
    return json.dumps(prediction), "application/json"
