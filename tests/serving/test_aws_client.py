"""AWS's own client, pointed at our server, gets the answers and errors that SageMaker would give it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from breedclf.inference.classifier import Classifier
from tests.serving.conftest import draw, encode


@pytest.fixture
def client(server_url: str) -> Any:
    return boto3.client(
        "sagemaker-runtime",
        endpoint_url=server_url,
        region_name="eu-central-1",
        aws_access_key_id="local",
        aws_secret_access_key="local",
        config=Config(retries={"total_max_attempts": 1}),
    )


def test_the_answer(client: Any, model: Path) -> None:
    image = encode(draw(9))
    answer = client.invoke_endpoint(
        EndpointName="dogs", Body=image, ContentType="image/jpeg", Accept="application/json", CustomAttributes="top=3"
    )
    assert answer["ContentType"] == "application/json"
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200
    expected = Classifier(model).predict(image).top(3)
    assert [each["label"] for each in json.loads(answer["Body"].read())["predictions"]] == [e.label for e in expected]


@pytest.mark.parametrize(
    ("body", "kind", "status", "code"),
    [(b"not an image", "image/jpeg", 400, "BadImage"), (encode(draw()), "text/csv", 415, "UnsupportedMediaType")],
)
def test_an_error_is_a_model_error(client: Any, body: bytes, kind: str, status: int, code: str) -> None:
    with pytest.raises(client.exceptions.ModelError) as error:
        client.invoke_endpoint(EndpointName="dogs", Body=body, ContentType=kind)
    response = error.value.response
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert response["OriginalStatusCode"] == status
    assert json.loads(response["OriginalMessage"])["error"]["code"] == code
