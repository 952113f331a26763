"""Settings inside other people's pydantic models and FastAPI bodies: an error names the field it belongs to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydantic import BaseModel, ValidationError

from breedclf import BreedclfError, ConfigError, Continuous, TrainingConfig
from breedclf.tuning.space import Space


class Order(BaseModel):
    """A user's model."""

    config: TrainingConfig
    space: Space = {}


@pytest.fixture(scope="module")
def client() -> TestClient:
    app = FastAPI()

    @app.post("/train")
    def train(config: TrainingConfig) -> dict[str, Any]:
        return {"epochs": config.epochs, "steps": config.gradient_accumulation_steps}

    @app.post("/order")
    def order(order: Order) -> Order:
        return order

    return TestClient(app)


def test_a_fastapi_body_of_settings_is_validated_field_by_field(client: TestClient) -> None:
    answer = client.post("/train", json={"data": "", "epochs": 0, "bach_size": 8})
    assert answer.status_code == 422
    found = {tuple(problem["loc"]): problem["msg"] for problem in answer.json()["detail"]}
    assert found.keys() == {("body", "data"), ("body", "epochs"), ("body", "bach_size")}
    assert "data is empty: give a path" in found["body", "data"]


def test_a_valid_body_arrives_as_settings_with_old_names_accepted(client: TestClient) -> None:
    answer = client.post("/train", json={"data": "dogs", "epochs": 2, "accumulate": 4})
    assert (answer.status_code, answer.json()) == (200, {"epochs": 2, "steps": 4})


def test_settings_nested_in_a_body_are_validated_in_place(client: TestClient) -> None:
    answer = client.post("/order", json={"config": {"data": "dogs", "epochs": 0}})
    assert answer.status_code == 422
    assert [problem["loc"] for problem in answer.json()["detail"]] == [["body", "config", "epochs"]]
    answer = client.post("/order", json={"config": {"data": "dogs"}})
    assert (answer.status_code, answer.json()["config"]["data"]) == (200, "dogs")


def test_fastapi_describes_settings_in_its_schema(client: TestClient) -> None:
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    fields = next(schema["properties"] for name, schema in schemas.items() if name.startswith("TrainingConfig"))
    assert fields["epochs"] == {
        "type": "integer",
        "maximum": 10_000,
        "minimum": 1,
        "title": "Epochs",
        "description": "passes over the training images",
        "default": 3,
    }
    assert fields.keys() == TrainingConfig.model_fields.keys()


@pytest.mark.parametrize("as_json", [False, True], ids=["python", "json"])
def test_a_model_with_settings_raises_one_validation_error_with_places(as_json: bool) -> None:
    with pytest.raises(ValidationError) as caught:
        if as_json:
            Order.model_validate_json('{"config": {"data": "dogs", "epochs": 0, "learning_rate": "fast"}}')
        else:
            Order(config={"data": "dogs", "epochs": 0, "learning_rate": "fast"})  # type: ignore[arg-type]
    assert [problem["loc"] for problem in caught.value.errors()] == [("config", "epochs"), ("config", "learning_rate")]


def test_a_search_space_in_a_model_names_the_end_that_is_wrong() -> None:
    wrong = {"learning_rate": {"kind": "continuous", "high": 1}, "epochs": {"kind": "integer", "low": "a", "high": 2}}
    with pytest.raises(ValidationError) as caught:
        Order.model_validate({"config": {"data": "dogs"}, "space": wrong})
    assert [problem["loc"][1:] for problem in caught.value.errors()] == [
        ("learning_rate", "continuous", "low"),
        ("epochs", "integer", "low"),
    ]


def test_settings_survive_the_json_of_a_model() -> None:
    order = Order(config=TrainingConfig(data="dogs", epochs=2), space={"learning_rate": Continuous(0.1, 0.2)})
    assert Order.model_validate_json(order.model_dump_json()) == order
    assert TrainingConfig.model_validate_json('{"data": "~/dogs"}').data == Path.home() / "dogs"


def test_the_constructor_still_raises_a_config_error_which_is_a_value_error() -> None:
    for kind in (ConfigError, ValueError, BreedclfError):
        with pytest.raises(kind, match="epochs=0: input should be greater than or equal to 1"):
            TrainingConfig(data="dogs", epochs=0)
    with pytest.raises(ValidationError):
        TrainingConfig.model_validate({"data": "dogs", "epochs": 0})
