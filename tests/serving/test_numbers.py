"""A model whose answers are no numbers: it isn't put into service, and a served one says so in valid JSON."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from breedclf.data.preprocessing import Preprocessing
from breedclf.errors import ArtifactError
from breedclf.inference.model_directory import write_artifact
from breedclf.models.backbones.backbone import find_backbone
from breedclf.serving.http.app import Service
from breedclf.serving.inference import input_fn, output_fn, predict_fn
from breedclf.serving.server import load_pipeline
from tests.serving.conftest import CLASSES, draw, encode, post, running

JPEG = encode(draw(3))


def test_it_isnt_put_into_service(tmp_path: Path) -> None:
    state = find_backbone("resnet18").new_network(seed=0, classes=len(CLASSES)).state_dict()
    state["fc.bias"] = torch.full_like(state["fc.bias"], math.nan)
    card = {
        "architecture": "resnet18",
        "labels": CLASSES,
        "class_names": CLASSES,
        "preprocessing": Preprocessing(resize_px=36, crop_px=32),
    }
    with pytest.raises(ArtifactError):
        write_artifact(tmp_path / "model", card, state)
        load_pipeline(tmp_path / "model", Service())


def test_an_answer_is_json_or_an_error(model: Path) -> None:
    with running(model) as (url, server):
        assert server.service.pipeline is not None
        engine = server.service.pipeline.engine
        with torch.no_grad():
            for weights in engine.classifier._network.parameters():  # type: ignore[attr-defined]
                weights.fill_(math.nan)
        response = post(url + "/invocations", JPEG)
        assert response.status == 500
        document = json.loads(response.data, parse_constant=lambda word: pytest.fail(f"{word} isn't JSON"))
        assert document["error"]["code"] == "ModelFailed"
        assert "train it again" in document["error"]["message"]
        with pytest.raises(Exception, match="are NaN or infinite"):
            output_fn(predict_fn(input_fn(JPEG, "image/jpeg"), engine), "application/json")
