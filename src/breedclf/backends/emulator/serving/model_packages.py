"""The operations of the model registry: groups of model packages, and the approval of each package.

The packages of a group are stored in its record, by version; versions of deleted packages aren't used again.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from breedclf.backends.emulator.protocol import ACCOUNT, ServiceError
from breedclf.backends.emulator.s3.storage import Storage
from breedclf.backends.emulator.serving.container import model_location
from breedclf.backends.emulator.store import PACKAGE_GROUP, Record, Store, page, selected

_NOT_EMULATED = (
    "ValidationSpecification",
    "SourceAlgorithmSpecification",
    "SourceUri",
    "AdditionalInferenceSpecifications",
    "CertifyForMarketplace",
)
_UPDATED = ("ModelApprovalStatus", "ApprovalDescription")
_UPDATE_FIELDS = {"ModelPackageArn", "CustomerMetadataProperties", "CustomerMetadataPropertiesToRemove", *_UPDATED}
_NOT_DESCRIBED = ("ClientToken", "ModelPackageGroupName")


@dataclass(frozen=True)
class ModelPackages:
    """Create, describe, list, update and delete model packages and their groups."""

    store: Store
    storage: Storage
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def create_group(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        name = request["ModelPackageGroupName"]
        record = self.store.create(PACKAGE_GROUP, name, region, request, packages={}, next_version=1)
        return {"ModelPackageGroupArn": record["arn"]}

    def describe_group(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        return {**_group_summary(self._group(request["ModelPackageGroupName"], region)), "CreatedBy": {}}

    def list_groups(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        summaries = [_group_summary(record) for record in self.store.all(PACKAGE_GROUP, region)]
        found = selected(summaries, request, name="ModelPackageGroupName", order="Ascending")
        return page(found, request, "ModelPackageGroupSummaryList")

    def delete_group(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        with self._lock:
            record = self._group(request["ModelPackageGroupName"], region)
            if record["packages"]:  # AWS documents the code, but not the message
                raise ServiceError(
                    "ConflictException", f"Model Package Group {record['arn']} can't be deleted: it has model packages."
                )
            self.store.delete(PACKAGE_GROUP, record["name"])
        return {}

    def create(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        _check_package(request)
        location, _ = model_location(request["InferenceSpecification"]["Containers"][0])
        if self.storage.region_of(location.bucket) != region or not self.storage.any(location):
            _refuse(f"Could not find model data at {location}.")
        token = request.get("ClientToken")
        with self._lock:
            group = self._group(request["ModelPackageGroupName"], region)
            for package in group["packages"].values():
                if token is not None and package["token"] == token:
                    return {"ModelPackageArn": package["arn"]}
            version, now = group["next_version"], self.store.clock()
            described = {name: value for name, value in request.items() if name not in _NOT_DESCRIBED}
            described.setdefault("ModelApprovalStatus", "PendingManualApproval")
            package = {
                "arn": f"arn:aws:sagemaker:{region}:{ACCOUNT}:model-package/{group['name']}/{version}",
                "version": version,
                "created": now,
                "modified": now,
                "token": token,
                "described": described,
            }
            packages = {**group["packages"], str(version): package}
            self.store.change(PACKAGE_GROUP, group["name"], packages=packages, next_version=version + 1)
        return {"ModelPackageArn": package["arn"]}

    def describe(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        group, package = self._package(request["ModelPackageName"], region)
        return {
            **package["described"],
            **_package_summary(group, package),
            "ModelPackageName": group["name"],
            "ModelPackageStatusDetails": {"ValidationStatuses": []},
            "CreatedBy": {},
            "LastModifiedTime": package["modified"],
        }

    def list(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        if "ModelPackageGroupName" in request:
            groups = [self._group(request["ModelPackageGroupName"], region)]
        else:
            versioned = request.get("ModelPackageType", "Unversioned") != "Unversioned"
            groups = self.store.all(PACKAGE_GROUP, region) if versioned else []
        summaries = [_package_summary(group, each) for group in groups for each in group["packages"].values()]
        found = selected(summaries, request, name="ModelPackageGroupName", order="Ascending")
        wanted = request.get("ModelApprovalStatus")
        found = [each for each in found if wanted in (None, each["ModelApprovalStatus"])]
        return page(found, request, "ModelPackageSummaryList")

    def update(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        for name in sorted(set(request) - _UPDATE_FIELDS):
            _refuse(f"UpdateModelPackage with {name} isn't emulated by breedclf's emulator.")
        with self._lock:
            group, package = self._package(request["ModelPackageArn"], region)
            described = {**package["described"], **{name: request[name] for name in _UPDATED if name in request}}
            properties = described.pop("CustomerMetadataProperties", {}) | request.get("CustomerMetadataProperties", {})
            for name in request.get("CustomerMetadataPropertiesToRemove", ()):
                properties.pop(name, None)
            if properties:
                described["CustomerMetadataProperties"] = properties
            changed = {**package, "described": described, "modified": self.store.clock()}
            packages = {**group["packages"], str(package["version"]): changed}
            self.store.change(PACKAGE_GROUP, group["name"], packages=packages)
        return {"ModelPackageArn": package["arn"]}

    def delete(self, request: Mapping[str, Any], region: str) -> dict[str, Any]:
        with self._lock:
            group, package = self._package(request["ModelPackageName"], region)
            packages = {name: each for name, each in group["packages"].items() if each is not package}
            self.store.change(PACKAGE_GROUP, group["name"], packages=packages)
        return {}

    def container(self, name: str, definition: Mapping[str, Any], region: str) -> dict[str, Any]:
        """The container of an approved package, with the environment of a model's definition.

        Raises:
            ServiceError: there is no such package, or it isn't approved.
        """
        _, package = self._package(name, region)
        status = package["described"]["ModelApprovalStatus"]
        if status != "Approved":
            _refuse(f"Model package {package['arn']} is {status}; it must be Approved to be deployed.")
        container: dict[str, Any] = dict(package["described"]["InferenceSpecification"]["Containers"][0])
        environment = {**container.get("Environment", {}), **definition.get("Environment", {})}
        return {**container, "Environment": environment}

    def _group(self, name_or_arn: str, region: str) -> Record:
        return self.store.get(PACKAGE_GROUP, name_or_arn.rpartition("/")[2], region)

    def _package(self, name_or_arn: str, region: str) -> tuple[Record, Record]:
        """A package and its group, by ARN or GROUP/VERSION.

        Raises:
            ServiceError: there is none.
        """
        name = name_or_arn.partition(":model-package/")[2] or name_or_arn
        group_name, _, version = name.partition("/")
        group = self.store.find(PACKAGE_GROUP, group_name)
        package = group["packages"].get(version) if group is not None and group["region"] == region else None
        if group is None or package is None:
            _refuse(f"ModelPackage arn:aws:sagemaker:{region}:{ACCOUNT}:model-package/{name} does not exist.")
        return group, package


def _check_package(request: Mapping[str, Any]) -> None:
    """Check rules that aren't in the service's model.

    Raises:
        ServiceError: a rule is broken, or a part isn't emulated.
    """
    if "ModelPackageName" in request and "ModelPackageGroupName" in request:
        _refuse(
            "Both ModelPackageName and ModelPackageGroupName are provided in the input. "
            "Cannot determine which one to use."
        )
    if "ModelPackageName" in request:
        _refuse("Model packages without a group aren't emulated by breedclf's emulator.")
    if "ModelPackageGroupName" not in request:
        _refuse("Missing ARN.")
    for name in _NOT_EMULATED:
        if name in request:
            _refuse(f"{name} isn't emulated by breedclf's emulator.")
    if request.get("Tags"):
        _refuse("Tags can't be given for a model package in a group, which uses the tags of the group.")
    containers = request.get("InferenceSpecification", {}).get("Containers", ())
    if len(containers) != 1:
        _refuse("A model package needs exactly one container in breedclf's emulator.")
    if not containers[0].get("Image"):
        _refuse("The container needs an Image.")
    if not containers[0].get("ModelDataUrl") and not containers[0].get("ModelDataSource"):
        _refuse("The container needs a ModelDataUrl or a ModelDataSource in breedclf's emulator.")


def _group_summary(record: Record) -> dict[str, Any]:
    described = {name: value for name, value in record["request"].items() if name != "Tags"}
    return {
        **described,
        "ModelPackageGroupArn": record["arn"],
        "CreationTime": record["created"],
        "ModelPackageGroupStatus": "Completed",
    }


def _package_summary(group: Record, package: Record) -> dict[str, Any]:
    described = package["described"]
    summary = {
        "ModelPackageGroupName": group["name"],
        "ModelPackageVersion": package["version"],
        "ModelPackageArn": package["arn"],
        "CreationTime": package["created"],
        "ModelPackageStatus": "Completed",
        "ModelApprovalStatus": described["ModelApprovalStatus"],
    }
    if "ModelPackageDescription" in described:
        summary["ModelPackageDescription"] = described["ModelPackageDescription"]
    return summary


def _refuse(message: str) -> NoReturn:
    raise ServiceError("ValidationException", message)
