"""Registers versions of models as model packages, and lets their approval follow which version is live."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from breedclf.backends.sagemaker.api_call import validate_call
from breedclf.backends.sagemaker.aws_errors import exists, may_be_taken, translate_aws_errors
from breedclf.backends.sagemaker.context import AwsContext
from breedclf.backends.sagemaker.endpoints.preparation import EndpointRequests
from breedclf.backends.sagemaker.endpoints.served_model import ServedModel
from breedclf.backends.sagemaker.model_packages.request import (
    ModelToRegister,
    description_prefix,
    group_for,
    package_request,
    quality_document,
)
from breedclf.errors import BreedclfError
from breedclf.jobs.plan import ApiCall
from breedclf.text.plain_json import plain_json

log: logging.Logger = logging.getLogger(__name__)

APPROVED, PENDING, REJECTED = "Approved", "PendingManualApproval", "Rejected"
_LIVE = "the live version in the model store of breedclf"
_NOT_LIVE = "not the live version in the model store of breedclf"


@dataclass(frozen=True)
class RegisteredPackage:
    """A version of a model in SageMaker's registry.

    `version` is the package's number in its group, which is not that of the store. `approval` is Approved,
    PendingManualApproval or Rejected. `created` is False if it was registered before.
    """

    arn: str
    group: str
    version: int
    approval: str
    created: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return dict(vars(self))


class ModelPackages:
    """The model packages of one account and region."""

    def __init__(self, context: AwsContext) -> None:
        self._context = context
        self._requests = EndpointRequests(context)

    @property
    def _client(self) -> Any:
        return self._context.clients("sagemaker")

    def register(self, model: ModelToRegister, group: str | None = None) -> RegisteredPackage:
        """Register a version once, and let approvals follow the live version.

        The live version is Approved, unless someone rejected it. Every other version waits for a decision; one that was
        approved because it was live, and isn't anymore, waits again. What others decided isn't changed.

        Args:
            model: the version.
            group: the name of the group, which is created if there is none; by default that of the model.

        Raises:
            ConfigError: the name isn't possible, or SageMaker doesn't support the settings.
            ArtifactError: the folder contains no model.
            BreedclfError: SageMaker or S3 refuses.
        """
        group = group_for(group or model.name)
        with translate_aws_errors(f"registering {model.name} {model.version} in group {group}", as_=BreedclfError):
            found = self._find(group, model)
            created = found is None
            if found is None:
                arn = self._create(group, model)
                found = self._client.describe_model_package(ModelPackageName=arn)
            approval = self._follow(group, model, found)
        return RegisteredPackage(found["ModelPackageArn"], group, found["ModelPackageVersion"], approval, created)

    def _create(self, group: str, model: ModelToRegister) -> str:
        context = self._context
        image = self._requests.image()
        with ServedModel.packed(model.artifact, context.uri("models")) as served:
            folder = f"{served.folder_uri}/registry/{group}-{model.version}"
            record_uri, quality = f"{folder}/version.json", quality_document(model)
            quality_uri = None if quality is None else f"{folder}/model-quality.json"
            request = package_request(
                model,
                group,
                settings=context.settings,
                image=image,
                model_uri=served.uri,
                record_uri=record_uri,
                quality_uri=quality_uri,
            )
            validate_call(ApiCall("CreateModelPackage", request), context.region)
            context.check_bucket()
            served.upload(context.storage)
        context.storage.put(record_uri, plain_json(model.record, indent=2).encode())
        if quality_uri is not None:
            context.storage.put(quality_uri, plain_json(quality).encode())
        self._ensure_group(group, model.name)
        return str(self._client.create_model_package(**request)["ModelPackageArn"])

    def _ensure_group(self, group: str, name: str) -> None:
        if self._has_group(group):
            return
        try:
            self._client.create_model_package_group(
                ModelPackageGroupName=group,
                ModelPackageGroupDescription=f"Versions of the breedclf model {name}",
                Tags=self._context.tags("registry", owned=True),
            )
        except ClientError as error:  # another process may have created it since
            if not (may_be_taken(error) and self._has_group(group)):
                raise

    def _has_group(self, group: str) -> bool:
        return exists(lambda: self._client.describe_model_package_group(ModelPackageGroupName=group))

    def _find(self, group: str, model: ModelToRegister) -> Mapping[str, Any] | None:
        """The summary of the version's package; a description can't be changed, so it identifies the package."""
        if not self._has_group(group):
            return None
        for each in self._packages(group):
            if each.get("ModelPackageDescription") == model.description:
                return each
        return None

    def _packages(self, group: str, **filters: str) -> Iterator[Mapping[str, Any]]:
        pages = self._client.get_paginator("list_model_packages")
        for page in pages.paginate(ModelPackageGroupName=group, **filters):
            yield from page["ModelPackageSummaryList"]

    def _follow(self, group: str, model: ModelToRegister, package: Mapping[str, Any]) -> str:
        """Let approvals follow the live version; returns the approval of the package."""
        arn, approval = str(package["ModelPackageArn"]), str(package["ModelApprovalStatus"])
        if not model.live:
            if approval == APPROVED and self._was_live(arn):
                return self._decide(arn, PENDING, _NOT_LIVE)
            return approval
        prefix = description_prefix(model.name)
        for each in list(self._packages(group, ModelApprovalStatus=APPROVED)):
            other = str(each["ModelPackageArn"])
            if other != arn and each.get("ModelPackageDescription", "").startswith(prefix) and self._was_live(other):
                self._decide(other, PENDING, _NOT_LIVE)
        if approval == REJECTED:
            log.warning("%s is live in the store, but someone rejected %s; it stays rejected", model.name, arn)
        return self._decide(arn, APPROVED, _LIVE) if approval == PENDING else approval

    def _was_live(self, arn: str) -> bool:
        """Whether a package was approved because it was live."""
        return bool(self._client.describe_model_package(ModelPackageName=arn).get("ApprovalDescription") == _LIVE)

    def _decide(self, arn: str, approval: str, reason: str) -> str:
        self._client.update_model_package(ModelPackageArn=arn, ModelApprovalStatus=approval, ApprovalDescription=reason)
        return approval
