"""Deploys an uploaded model by the SDK's resources and by its ModelBuilder, asks both and deletes all; prints JSON."""

from __future__ import annotations

import json
import sys

import boto3
from sagemaker.core.helper.session_helper import Session
from sagemaker.core.resources import Endpoint, EndpointConfig, Model
from sagemaker.core.shapes import ContainerDefinition, ProductionVariant
from sagemaker.serve import ModelBuilder

from tests.backends.emulator.scenarios.sdk_train import NO_TELEMETRY, ROLE

IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-inference:2.6-cpu"


def main(bucket: str) -> None:
    boto = boto3.Session()
    uri = f"s3://{bucket}/models/model.tar.gz"
    container = ContainerDefinition(image=IMAGE, model_data_url=uri)
    model = Model.create(model_name="by-hand", primary_container=container, execution_role_arn=ROLE, session=boto)
    variant = ProductionVariant(
        variant_name="AllTraffic", model_name="by-hand", instance_type="ml.m5.large", initial_instance_count=1
    )
    config = EndpointConfig.create(endpoint_config_name="by-hand", production_variants=[variant], session=boto)
    endpoint = Endpoint.create(endpoint_name="by-hand", endpoint_config_name="by-hand", session=boto)
    endpoint.wait_for_status("InService", poll=1)
    answer = endpoint.invoke(body=b"abc", content_type="application/octet-stream")
    seen = {"by_hand": json.loads(answer.body.read()), "status": endpoint.endpoint_status}

    session = Session(boto_session=boto, default_bucket=bucket, sagemaker_config=NO_TELEMETRY)
    builder = ModelBuilder(
        s3_model_data_url=uri,
        image_uri=IMAGE,
        role_arn=ROLE,
        sagemaker_session=session,
        instance_type="ml.m5.large",
    )
    builder.build(model_name="by-builder")
    built = builder.deploy(
        endpoint_name="by-builder", initial_instance_count=1, instance_type="ml.m5.large", wait=False
    )
    built.wait_for_status("InService", poll=1)
    seen["by_builder"] = json.loads(built.invoke(body=b"abcd", content_type="application/octet-stream").body.read())
    for each in (endpoint, built):
        each.delete()
        each.wait_for_delete(poll=1)
    config.delete()
    model.delete()
    seen["left"] = [each["EndpointName"] for each in boto.client("sagemaker").list_endpoints()["Endpoints"]]
    sys.stdout.write(f"\nSEEN {json.dumps(seen)}\n")


if __name__ == "__main__":
    main(sys.argv[1])
