"""The resources that breedclf created in an account, found by its tag: owner, age, status and cost so far."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Self

from botocore.exceptions import ClientError

from breedclf.backends.sagemaker.account.kinds import (
    DESCRIPTIONS,
    KINDS,
    LISTINGS,
    OPERATIONS,
    Kind,
    arn_key,
    kind_of,
)
from breedclf.backends.sagemaker.aws_errors import error_message, is_missing, may_have_ended, translate_aws_errors
from breedclf.backends.sagemaker.context import AwsContext
from breedclf.backends.sagemaker.cost.rates import Use
from breedclf.backends.sagemaker.s3.storage import S3Object
from breedclf.backends.sagemaker.tags import OWNER_TAG, TAG
from breedclf.backends.sagemaker.timestamps import epoch_seconds
from breedclf.errors import BreedclfError, JobError

log: logging.Logger = logging.getLogger(__name__)

_HOUR_SECONDS = 3_600.0
_DAY_SECONDS = 86_400.0
_THREADS = 8
_RUNNING = ("InProgress", "Stopping")
_PARTS = ("code", "data", "weights", "jobs", "models")


@dataclass(frozen=True)
class Thing:
    """A resource that breedclf created; times are seconds since 1970, `cost` is US dollars so far (None: unknown).

    `owner` is the ARN of its creator; None without an owner tag.
    """

    kind: str
    name: str
    status: str
    created: float
    cost: float | None = None
    why_unknown: str | None = None
    owner: str | None = None

    @property
    def runs(self) -> bool:
        """Whether it is running and billed."""
        return self.status in _RUNNING or (self.kind == "endpoint" and self.status not in ("Failed", "Deleting"))

    def to_dict(self, now: float) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**vars(self), "runs": self.runs, "age_days": round((now - self.created) / _DAY_SECONDS, 3)}


@dataclass(frozen=True)
class Folder:
    """The number and size of the objects below an S3 prefix."""

    uri: str
    objects: int
    size_bytes: int

    @classmethod
    def of(cls, uri: str, entries: Sequence[S3Object]) -> Self:
        """The folder with these objects."""
        return cls(uri, len(entries), sum(each.size_bytes for each in entries))


class Inventory:
    """The resources of one account and region with the tag `breedclf`."""

    def __init__(self, context: AwsContext, *, now: Callable[[], float]) -> None:
        self._context = context
        self._client = context.clients("sagemaker")
        self._now = now

    @property
    def owner(self) -> str | None:
        """The caller's ARN; None if AWS doesn't reveal it."""
        return self._context.owner

    def things(self) -> list[Thing]:
        """All resources by kind, oldest first; training jobs last."""
        found = [thing for kind in KINDS for thing in self._of(kind)]
        return [*found, *self._trainings()]

    def folders(self) -> list[Folder]:
        """The size of each folder below the prefix."""
        return [Folder.of(uri, list(self._context.storage.entries(uri))) for uri in map(self._context.uri, _PARTS)]

    def leftovers(self) -> list[Folder]:
        """Folders in S3 that nothing in SageMaker refers to anymore.

        These are archives that no model and no model package uses, and the output of deleted jobs and of batch
        transforms that have ended.
        """
        used = {uri.rpartition("/")[0] for uri in self._model_archives()}
        jobs = {thing.name for thing in self.things() if thing.kind != "transform-job" or thing.runs}
        models = [each for each in self._subfolders("models") if each.uri not in used]
        return [*(each for each in self._subfolders("jobs") if each.uri.rpartition("/")[2] not in jobs), *models]

    def delete_folder(self, folder: Folder) -> None:
        """Delete a folder in S3 with all its objects.

        Raises:
            BreedclfError: S3 refuses.
        """
        self._context.storage.delete(folder.uri)

    def _subfolders(self, part: str) -> list[Folder]:
        below: dict[str, list[S3Object]] = {}
        for entry in self._context.storage.entries(self._context.uri(part)):
            below.setdefault(entry.name.partition("/")[0], []).append(entry)
        return [Folder.of(self._context.uri(part, name), entries) for name, entries in below.items()]

    def _model_archives(self) -> Iterable[str]:
        with translate_aws_errors("listing models", as_=BreedclfError):
            for each in self._listed(kind_of("model")):
                described = self._client.describe_model(ModelName=each["ModelName"])
                for container in [described.get("PrimaryContainer", {}), *described.get("Containers", ())]:
                    yield container.get("ModelDataUrl", "")
        with translate_aws_errors("listing model packages", as_=BreedclfError):
            for page in self._client.get_paginator("list_model_packages").paginate(ModelPackageType="Both"):
                for each in page["ModelPackageSummaryList"]:
                    described = self._client.describe_model_package(ModelPackageName=each["ModelPackageArn"])
                    for container in described.get("InferenceSpecification", {}).get("Containers", ()):
                        yield container.get("ModelDataUrl", "")

    def stop(self, thing: Thing) -> None:
        """Stop a job; does nothing if it has ended.

        Raises:
            JobError: SageMaker refuses.
        """
        kind = kind_of(thing.kind)
        if kind.stop is not None:
            self._send(f"stopping {thing.kind} {thing.name}", kind.stop, thing)

    def delete(self, thing: Thing) -> None:
        """Delete an endpoint, a configuration, a model or a model package group; does nothing if it is already gone.

        Raises:
            JobError: SageMaker refuses.
        """
        kind = kind_of(thing.kind)
        if kind.delete is not None:
            self._send(f"deleting {thing.kind} {thing.name}", kind.delete, thing)

    def _send(self, action: str, operation: str, thing: Thing) -> None:
        with translate_aws_errors(action, as_=JobError):
            try:
                OPERATIONS[operation](self._client, thing.name)
            except ClientError as error:
                if not (may_have_ended(error) and self._is_over(thing)):
                    raise
                log.info("%s: nothing to do (%s)", action, error_message(error))

    def _is_over(self, thing: Thing) -> bool:
        """Whether it is gone, or a job that has ended."""
        try:
            described = DESCRIPTIONS[thing.kind](self._client, thing.name)
        except ClientError as error:
            if is_missing(error):
                return True
            raise
        kind = kind_of(thing.kind)
        return kind.stop is not None and kind.status is not None and described[kind.status] not in _RUNNING

    def _of(self, kind: Kind) -> list[Thing]:
        listed = list(self._listed(kind))
        with ThreadPoolExecutor(_THREADS) as pool:
            tags = list(pool.map(lambda each: self._tags(each[arn_key(kind)]), listed))
        things = [
            self._thing(kind, each, found.get(OWNER_TAG))
            for each, found in zip(listed, tags, strict=True)
            if TAG in found
        ]
        return sorted(things, key=lambda thing: (thing.created, thing.name))

    def _listed(self, kind: Kind) -> Iterable[Mapping[str, Any]]:
        with translate_aws_errors(f"listing {kind.word}s", as_=BreedclfError):
            for page in LISTINGS[kind.listing](self._client):
                yield from page[kind.summaries]

    def _tags(self, arn: str) -> dict[str, str]:
        with translate_aws_errors(f"reading the tags of {arn}", as_=BreedclfError):
            try:
                return self._context.resource_tags(arn)
            except ClientError as error:
                if is_missing(error):  # deleted since it was listed
                    return {}
                raise

    def _trainings(self) -> list[Thing]:
        """Training jobs, including those of searches; Search returns all fields that their cost needs."""
        tagged = {"Filters": [{"Name": f"Tags.{TAG}", "Operator": "Exists"}]}
        with translate_aws_errors("listing training jobs", as_=BreedclfError):
            pages = self._client.get_paginator("search").paginate(
                Resource="TrainingJob", SearchExpression=tagged, SortBy="CreationTime", SortOrder="Ascending"
            )
            return [self._training(each["TrainingJob"]) for page in pages for each in page["Results"]]

    def _thing(self, kind: Kind, listed: Mapping[str, Any], owner: str | None) -> Thing:
        name, status = listed[kind.name], "-" if kind.status is None else listed[kind.status]
        thing = Thing(kind.word, name, status, epoch_seconds(listed["CreationTime"]), 0.0, owner=owner)
        if kind.word == "transform-job":
            return self._transform(thing)
        return (
            self._endpoint(thing) if kind.word == "endpoint" else thing
        )  # the cost of a search is that of its training jobs

    def _transform(self, thing: Thing) -> Thing:
        """A batch transform is billed from its start to its end, or until now."""
        with translate_aws_errors(f"describing batch transform {thing.name}", as_=BreedclfError):
            job = self._client.describe_transform_job(TransformJobName=thing.name)
        resources, started = job["TransformResources"], epoch_seconds(job.get("TransformStartTime"))
        seconds = 0.0 if started is None else (epoch_seconds(job.get("TransformEndTime")) or self._now()) - started
        rate = self._rate("transform", resources["InstanceType"])
        if rate is None:
            return replace(thing, cost=None, why_unknown=f"no price for {resources['InstanceType']}")
        return replace(thing, cost=rate * seconds / _HOUR_SECONDS * resources["InstanceCount"])

    def _endpoint(self, thing: Thing) -> Thing:
        """An endpoint is billed from its creation until now; the current machines are used for all of that time."""
        with translate_aws_errors(f"describing endpoint {thing.name}", as_=BreedclfError):
            try:
                endpoint = self._client.describe_endpoint(EndpointName=thing.name)
                config = self._client.describe_endpoint_config(EndpointConfigName=endpoint["EndpointConfigName"])
            except ClientError as error:
                return replace(thing, cost=None, why_unknown=error_message(error))
        hours, total = (self._now() - thing.created) / _HOUR_SECONDS, 0.0
        for variant in config["ProductionVariants"]:
            if "ServerlessConfig" in variant:
                return replace(thing, cost=None, why_unknown="serverless: billed per request")
            rate = self._rate("hosting", variant["InstanceType"])
            if rate is None:
                return replace(thing, cost=None, why_unknown=f"no price for {variant['InstanceType']}")
            total += rate * hours * variant.get("InitialInstanceCount", 1)
        return replace(thing, cost=total)

    def _training(self, job: Mapping[str, Any]) -> Thing:
        resources, created = job["ResourceConfig"], epoch_seconds(job["CreationTime"])
        seconds = job.get("BillableTimeInSeconds")
        if seconds is None:
            started = epoch_seconds(job.get("TrainingStartTime"))
            seconds = 0.0 if started is None else (epoch_seconds(job.get("TrainingEndTime")) or self._now()) - started
        rate = self._rate("training", resources["InstanceType"])
        cost = None if rate is None else rate * seconds / _HOUR_SECONDS * resources["InstanceCount"]
        why = f"no price for {resources['InstanceType']}" if rate is None else None
        owner = {tag["Key"]: tag["Value"] for tag in job.get("Tags") or ()}.get(OWNER_TAG)
        return Thing("training-job", job["TrainingJobName"], job["TrainingJobStatus"], created, cost, why, owner)

    def _rate(self, use: Use, machine: str) -> float | None:
        found = self._context.rates.instance_hour(self._context.region, use, machine)
        return None if found is None else found.usd
