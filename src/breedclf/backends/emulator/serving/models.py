"""The operations on models and endpoint configurations, with rules that aren't in the service's model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from breedclf.backends.emulator.descriptions import described_config, described_model
from breedclf.backends.emulator.protocol import ServiceError
from breedclf.backends.emulator.s3.storage import Storage
from breedclf.backends.emulator.serving.container import model_location
from breedclf.backends.emulator.serving.model_packages import ModelPackages
from breedclf.backends.emulator.store import CONFIG, MODEL, Record, Store, page, selected

_NOT_EMULATED = ("AsyncInferenceConfig", "DataCaptureConfig", "ExplainerConfig", "ShadowProductionVariants")


@dataclass(frozen=True)
class Models:
    """Create, describe, list and delete models and endpoint configurations."""

    store: Store
    storage: Storage
    packages: ModelPackages

    def create_model(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        definition = container_of(request)
        if not request.get("ExecutionRoleArn"):
            _refuse("ExecutionRoleArn must be given.")
        if package := definition.get("ModelPackageName"):
            definition = self.packages.container(package, definition, region)
        location, _ = model_location(definition)
        if self.storage.region_of(location.bucket) != region or not self.storage.any(location):
            _refuse(f"Could not find model data at {location}.")
        record = self.store.create(MODEL, request["ModelName"], region, request, container=definition)
        return {"ModelArn": record["arn"]}

    def describe_model(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        record = self.store.get(MODEL, request["ModelName"], region)
        return described_model(record["request"]) | {"ModelArn": record["arn"], "CreationTime": record["created"]}

    def list_models(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        return self._list(MODEL, "Model", "Models", request, region)

    def delete_model(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        self.store.get(MODEL, request["ModelName"], region)
        self.store.delete(MODEL, request["ModelName"])
        return {}

    def create_config(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        for name in _NOT_EMULATED:
            if name in request:
                _refuse(f"{name} isn't emulated by breedclf's emulator.")
        if len(request["ProductionVariants"]) > 1:
            _refuse("More than one production variant isn't emulated by breedclf's emulator.")
        variant = request["ProductionVariants"][0]
        if "ModelName" not in variant:
            _refuse("Each production variant needs a ModelName in breedclf's emulator.")
        model = self.store.get(MODEL, variant["ModelName"], region)
        check_variant(variant, model)
        record = self.store.create(CONFIG, request["EndpointConfigName"], region, request)
        return {"EndpointConfigArn": record["arn"]}

    def describe_config(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        record = self.store.get(CONFIG, request["EndpointConfigName"], region)
        return described_config(record["request"]) | {
            "EndpointConfigArn": record["arn"],
            "CreationTime": record["created"],
        }

    def list_configs(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        return self._list(CONFIG, "EndpointConfig", "EndpointConfigs", request, region)

    def delete_config(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        self.store.get(CONFIG, request["EndpointConfigName"], region)
        self.store.delete(CONFIG, request["EndpointConfigName"])
        return {}

    def _list(self, kind: Any, word: str, key: str, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        summaries = [
            {f"{word}Name": record["name"], f"{word}Arn": record["arn"], "CreationTime": record["created"]}
            for record in self.store.all(kind, region)
        ]
        return page(selected(summaries, request, name=f"{word}Name"), request, key)


def container_of(request: Mapping[str, Any]) -> dict[str, Any]:
    """The one container of a CreateModel request.

    Raises:
        ServiceError: there isn't exactly one container, or it isn't emulated.
    """
    several = request.get("Containers", [])
    if bool(several) == ("PrimaryContainer" in request):
        _refuse("Give exactly one of PrimaryContainer and Containers.")
    if len(several) > 1:
        _refuse("More than one container isn't emulated by breedclf's emulator.")
    definition: dict[str, Any] = several[0] if several else request["PrimaryContainer"]
    if definition.get("Mode", "SingleModel") != "SingleModel":
        _refuse("Multi-model containers aren't emulated by breedclf's emulator.")
    if "ModelPackageName" in definition:
        if given := [name for name in ("Image", "ModelDataUrl", "ModelDataSource") if definition.get(name)]:
            _refuse(f"ModelPackageName and {' or '.join(given)} can't be given together.")
        return definition
    if not definition.get("Image"):
        _refuse("The container needs an Image.")
    if not definition.get("ModelDataUrl") and not definition.get("ModelDataSource"):
        _refuse("The container needs a ModelDataUrl or a ModelDataSource in breedclf's emulator.")
    return definition


def served_container(model: Record) -> dict[str, Any]:
    """The container of a model; that of a model package is the package's, as it was when the model was created."""
    return dict(model.get("container") or container_of(model["request"]))


def check_variant(variant: Mapping[str, Any], model: Record) -> None:
    """Check the rules of a production variant.

    Raises:
        ServiceError: a rule is broken.
    """
    serverless = variant.get("ServerlessConfig")
    if serverless is None:
        if not variant.get("InstanceType") or not variant.get("InitialInstanceCount"):
            _refuse("A production variant needs an InstanceType and an InitialInstanceCount, or a ServerlessConfig.")
        return
    if "InstanceType" in variant or "InitialInstanceCount" in variant:
        _refuse("ServerlessConfig and InstanceType or InitialInstanceCount can't be given together.")
    if serverless["MemorySizeInMB"] % 1024:
        _refuse("MemorySizeInMB must be one of 1024, 2048, 3072, 4096, 5120, 6144.")
    if "VpcConfig" in model["request"]:
        _refuse("Serverless endpoints don't support a model with a VpcConfig.")
    if "/ray:serve" in served_container(model)["Image"]:
        _refuse("Image size 12884901888 is greater than supported size 10737418240")


def _refuse(message: str) -> NoReturn:
    raise ServiceError("ValidationException", message)
