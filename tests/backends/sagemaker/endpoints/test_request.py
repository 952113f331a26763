"""What SageMaker is sent to serve a model: snapshots that people can read, and combinations that are refused here."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

from breedclf.backends.sagemaker.endpoints.request import (
    ImageKind,
    check_servable,
    check_spec,
    create_request,
    generation_for,
    generation_of,
    model_request,
    transform_request,
    update_request,
)
from breedclf.backends.sagemaker.endpoints.serving_images import serving_image
from breedclf.backends.sagemaker.settings import SageMakerSettings
from breedclf.backends.sagemaker.tags import tag_text
from breedclf.errors import ConfigError
from breedclf.jobs.endpoints import EndpointSpec, EngineChoice

SNAPSHOTS = Path(__file__).parents[1] / "requests"
REGION = "eu-west-1"
ROLE = "arn:aws:iam::111122223333:role/breedclf"
RAY = f"763104351884.dkr.ecr.{REGION}.amazonaws.com/ray:serve-ml-sagemaker-cpu-v1.4"
RAY_CUDA = f"763104351884.dkr.ecr.{REGION}.amazonaws.com/ray:serve-ml-sagemaker-cuda-v1.4"
TOOLKIT = f"763104351884.dkr.ecr.{REGION}.amazonaws.com/pytorch-inference:2.6-cpu-py312"
OWN = f"111122223333.dkr.ecr.{REGION}.amazonaws.com/breeds:1"
MODEL = "s3://bucket/breedclf/models/0123abcd/model.tar.gz"
TAGS = [{"Key": "breedclf", "Value": "1.0"}, {"Key": "breedclf-purpose", "Value": "endpoint"}]
VPC = {"subnets": ("subnet-1", "subnet-2"), "security_groups": ("sg-1",)}


def settings(**given: Any) -> SageMakerSettings:
    return SageMakerSettings(role=ROLE, **given)


def endpoint(image: str, **given: Any) -> dict[str, Any]:
    chosen = settings(**given)
    check_servable(chosen, image, region=REGION)
    made = generation_for("dogs", 1, settings=chosen, image=image, model_uri=MODEL, role=ROLE, tags=TAGS)
    return {
        "CreateModel": made.model,
        "CreateEndpointConfig": made.config,
        "CreateEndpoint": create_request(
            "dogs", made.name, [*TAGS, {"Key": "breedclf-expires", "Value": "1795608000"}]
        ),
    }


def transform(image: str, **given: Any) -> dict[str, Any]:
    chosen = settings(**given)
    return {
        "CreateModel": {
            "ModelName": "transform-1",
            **model_request(settings=chosen, image=image, model_uri=MODEL, role=ROLE),
            "Tags": TAGS,
        },
        "CreateTransformJob": transform_request(
            "transform-1",
            "transform-1",
            settings=chosen,
            images_uri="s3://bucket/breedclf/jobs/transform-1/pictures/",
            output_uri="s3://bucket/breedclf/jobs/transform-1/predictions",
            tags=TAGS,
        ),
    }


CASES: dict[str, Any] = {
    "ray_cpu": lambda: endpoint(RAY),
    "ray_gpu": lambda: endpoint(RAY_CUDA, endpoint_instance_type="ml.g4dn.xlarge", endpoint_instance_count=2),
    "own_image": lambda: endpoint(OWN, serving_image=OWN),
    "serverless": lambda: endpoint(OWN, serving_image=OWN, serverless_memory_mb=3072, serverless_max_concurrency=2),
    "toolkit": lambda: endpoint(TOOLKIT),
    "isolated_in_vpc_with_key": lambda: endpoint(
        OWN, serving_image=OWN, network_isolation=True, wheels="wheels", volume_kms_key="alias/disk", **VPC
    ),
    "update": lambda: {"UpdateEndpoint": update_request("dogs", "dogs-g2-0123abcd")},
    "transform": lambda: transform(RAY),
    "transform_gpu_with_keys": lambda: transform(
        RAY_CUDA, endpoint_instance_type="ml.p3.2xlarge", volume_kms_key="alias/disk", output_kms_key="alias/out"
    ),
}


@pytest.fixture(scope="module")
def service() -> ServiceModel:
    return ServiceModel(Loader().load_service_model("sagemaker", "service-2"), "sagemaker")


@pytest.mark.parametrize("case", CASES)
def test_requests_are_valid_and_as_they_were_read(case: str, service: ServiceModel) -> None:
    made = CASES[case]()
    for operation, request in made.items():
        shape = service.operation_model(operation).input_shape
        report = ParamValidator().validate(request, shape)
        assert not report.has_errors(), f"{operation}: {report.generate_report()}"
        assert list(faults(request, shape)) == []
    expected = SNAPSHOTS / f"endpoint_{case}.json"
    assert json.loads(expected.read_text(encoding="utf-8")) == made, f"read the change, then write it to {expected}"


def faults(value: Any, shape: Any) -> Any:
    """Values outside of the service's lists, lengths and forms, which botocore itself lets pass."""
    if shape.type_name == "structure":
        for name, each in value.items():
            yield from faults(each, shape.members[name])
    elif shape.type_name == "list":
        for each in value:
            yield from faults(each, shape.member)
    elif shape.type_name == "string":
        most, form = shape.metadata.get("max"), shape.metadata.get("pattern")
        for java, python in ((r"\p{L}", r"\w"), (r"\p{N}", r"\d"), (r"\p{Z}", r"\s")):
            form = form and form.replace(java, python)
        if (shape.enum and value not in shape.enum) or (most and len(value) > most):
            yield f"{shape.name}={value!r}"
        elif form and not re.fullmatch(form, value):
            yield f"{shape.name}={value!r} isn't {form}"


@pytest.mark.parametrize(
    ("image", "given", "words"),
    [
        (OWN, {"serverless_memory_mb": 1024, "network_isolation": True, "wheels": "w"}, "network_isolation"),
        (OWN, {"serverless_memory_mb": 1024, "endpoint_instance_type": "ml.g4dn.xlarge"}, "no GPU"),
        (OWN, {"serverless_memory_mb": 1024, "endpoint_instance_count": 2}, "have no machines"),
        (RAY, {"serverless_memory_mb": 1024, "serving_image": RAY}, "too large"),
        (OWN.replace(":1", ":cuda-1"), {"serverless_memory_mb": 1024}, "no GPU"),
        (RAY, {"endpoint_instance_type": "ml.g5.xlarge"}, "has a GPU"),
        (RAY, {"endpoint_instance_type": "ml.m6g.large"}, "ARM"),
        (RAY, {"endpoint_instance_type": "ml.inf2.xlarge"}, "Neuron"),
        (RAY, {"network_isolation": True, "wheels": "w"}, "installs packages at startup"),
        (TOOLKIT, {"network_isolation": True, "wheels": "w"}, "installs packages at startup"),
        (RAY_CUDA, {"endpoint_instance_type": "ml.g4dn.xlarge", "volume_kms_key": "alias/k"}, "with a key of AWS"),
        ("breeds:latest", {}, "from ECR"),
        ("docker.io/me/breeds:latest", {}, "from ECR"),
        (OWN.replace(REGION, "us-east-1"), {}, "from other regions"),
        (OWN, {"tags": {f"t{number}": "x" for number in range(43)}}, "43 tags"),
    ],
)
def test_what_sagemaker_refuses_is_refused_here(image: str, given: dict[str, Any], words: str) -> None:
    chosen = settings(**({"serving_image": OWN} | given))
    with pytest.raises(ConfigError, match=words):
        check_servable(chosen, image, region=REGION)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"serverless_memory_mb": 1024}, "without serving_image"),
        ({"serverless_memory_mb": 1024, "serving_image": OWN, **VPC}, "can't run in a VPC"),
        ({"serverless_memory_mb": 1500, "serving_image": OWN}, "1500"),
        ({"serverless_memory_mb": 1024, "serving_image": OWN, "serverless_max_concurrency": 201}, "200"),
    ],
)
def test_settings_that_contradict_each_other(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        settings(**given)


def test_what_no_endpoint_of_sagemaker_has() -> None:
    with pytest.raises(ConfigError, match="idle_seconds=60: .* serverless_memory_mb"):
        check_spec(EndpointSpec("dogs", Path("model"), idle_seconds=60))
    with pytest.raises(ConfigError, match="port=8080"):
        check_spec(EndpointSpec("dogs", Path("model"), port=8080))
    with pytest.raises(ConfigError, match="engine='openvino'"):
        check_spec(EndpointSpec("dogs", Path("model"), engine=EngineChoice("openvino")))
    check_spec(EndpointSpec("dogs", Path("model"), ttl_seconds=60, detach=True))


@pytest.mark.parametrize("name", ["d", "dogs", "dogs-g1-0123abcd", "x" * 63, "x" * 44, "x" * 48, "x" * 46 + "-y"])
def test_names_of_generations_fit_and_are_found_again(name: str) -> None:
    made = generation_for(name, 99_999, settings=settings(), image=RAY, model_uri=MODEL, role=ROLE, tags=TAGS)
    assert len(made.name) <= 63
    assert re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", made.name)
    assert generation_of(name, made.name) == 99_999
    for other in ("dogs2", "dog", f"{name[:40]}-z"):
        assert generation_of(other, made.name) is None


def test_a_generation_has_another_name_when_it_is_another() -> None:
    def name(**changes: Any) -> str:
        given = {"settings": settings(), "image": RAY, "model_uri": MODEL, "role": ROLE, "tags": TAGS, **changes}
        return generation_for("dogs", 1, **given).name

    assert name() == name(tags=[])
    others = [
        name(model_uri=MODEL.replace("0123", "4567")),
        name(image=OWN),
        name(settings=settings(endpoint_instance_type="ml.c5.large")),
    ]
    assert len({name(), *others}) == 4


def test_text_of_a_tag() -> None:
    assert tag_text("sample image/jpeg: gives 0.1, the classifier's 0.2; (Wélsh <Corgi>)") == (
        "sample image/jpeg: gives 0.1 the classifier s 0.2 Wélsh Corgi"
    )
    assert len(tag_text("word " * 100)) <= 256


def test_the_image_of_a_machine(caplog: pytest.LogCaptureFixture) -> None:
    assert ImageKind.of(serving_image(REGION, "ml.m5.xlarge", None)) is ImageKind.RAY
    assert "cuda" in serving_image(REGION, "ml.g4dn.xlarge", None)
    assert serving_image(REGION, "ml.m5.xlarge", OWN) == OWN
    assert not caplog.records
    assert serving_image(REGION, "ml.m5.xlarge", "pytorch-inference") == TOOLKIT
    assert "not patched the PyTorch inference images since 2026-06-30" in caplog.text
    with pytest.raises(ConfigError, match="serving_image="):
        serving_image("mars-north-1", "ml.m5.xlarge", None)
