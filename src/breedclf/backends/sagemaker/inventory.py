"""What breedclf has made in an account: found by its tag, with age, status and cost so far, and cleaned up."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from breedclf.backends.sagemaker.aws import error_code, error_message, told
from breedclf.backends.sagemaker.place import TAG, Place
from breedclf.backends.sagemaker.rates import Use
from breedclf.errors import BreedclfError, JobError

log = logging.getLogger(__name__)

_HOUR_SECONDS = 3_600.0
_DAY_SECONDS = 86_400.0
_AT_A_TIME = 8
_RUNS = ("InProgress", "Stopping")


@dataclass(frozen=True)
class Kind:
    """One kind of thing, and how SageMaker lists it and takes it away.

    `delete` is the operation that removes it; jobs have none here, since theirs is `breedclf jobs clean`. `stop` ends
    one that runs. Deleting goes in the order of `KINDS`: an endpoint before what it is made of.
    """

    word: str
    listing: str
    summaries: str
    name: str
    status: str | None = None
    delete: str | None = None
    stop: str | None = None


KINDS = (
    Kind("endpoint", "list_endpoints", "Endpoints", "EndpointName", "EndpointStatus", "delete_endpoint"),
    Kind(
        "endpoint-config",
        "list_endpoint_configs",
        "EndpointConfigs",
        "EndpointConfigName",
        None,
        "delete_endpoint_config",
    ),
    Kind("model", "list_models", "Models", "ModelName", None, "delete_model"),
    Kind(
        "tuning-job",
        "list_hyper_parameter_tuning_jobs",
        "HyperParameterTuningJobSummaries",
        "HyperParameterTuningJobName",
        "HyperParameterTuningJobStatus",
        stop="stop_hyper_parameter_tuning_job",
    ),
)
TRAINING = Kind("training-job", "search", "Results", "TrainingJobName", "TrainingJobStatus", stop="stop_training_job")


@dataclass(frozen=True)
class Thing:
    """Something that breedclf made; times are seconds since 1970, `cost` US dollars so far (None: unknown)."""

    kind: str
    name: str
    status: str
    created: float
    cost: float | None = None
    why_unknown: str | None = None

    @property
    def runs(self) -> bool:
        """Whether it costs something right now."""
        return self.status in _RUNS or (self.kind == "endpoint" and self.status not in ("Failed", "Deleting"))

    def to_dict(self, now: float) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**vars(self), "runs": self.runs, "age_days": round((now - self.created) / _DAY_SECONDS, 3)}


@dataclass(frozen=True)
class Folder:
    """What lies in S3 below one part of the prefix."""

    uri: str
    objects: int
    size_bytes: int


class Inventory:
    """The things of one account and region that carry the tag `breedclf`."""

    def __init__(self, place: Place, *, now: Callable[[], float]) -> None:
        self._place = place
        self._client = place.clients("sagemaker")
        self._now = now

    def things(self) -> list[Thing]:
        """Everything found, the oldest of each kind first, jobs last."""
        found = [thing for kind in KINDS for thing in self._of(kind)]
        return [*found, *self._trainings()]

    def folders(self) -> list[Folder]:
        """How much lies below each part of the prefix."""
        return [self._folder(self._place.uri(part)) for part in ("code", "data", "weights", "jobs", "models")]

    def stop(self, thing: Thing) -> None:
        """Ask a job to stop; nothing happens to one that has ended.

        Raises:
            JobError: SageMaker refuses.
        """
        kind = _kind(thing.kind)
        if kind.stop is not None:
            self._send(f"stopping {thing.kind} {thing.name}", kind.stop, thing)

    def delete(self, thing: Thing) -> None:
        """Take an endpoint, a configuration or a model away; nothing happens when it is gone already.

        Raises:
            JobError: SageMaker refuses.
        """
        kind = _kind(thing.kind)
        if kind.delete is not None:
            self._send(f"deleting {thing.kind} {thing.name}", kind.delete, thing)

    def _send(self, doing: str, operation: str, thing: Thing) -> None:
        with told(doing, JobError):
            try:
                _OPERATIONS[operation](self._client, thing.name)
            except ClientError as error:
                message = error_message(error).lower()
                gone = error_code(error) in ("ResourceNotFound", "ValidationException")
                if not (gone and any(word in message for word in ("not find", "not found", "not exist", "status"))):
                    raise
                log.info("%s: nothing to do (%s)", doing, error_message(error))

    def _of(self, kind: Kind) -> list[Thing]:
        listed = list(self._listed(kind))
        with ThreadPoolExecutor(_AT_A_TIME) as pool:
            tagged = list(pool.map(lambda each: TAG in self._tags(each[_arn_key(kind)]), listed))
        ours = [each for each, is_ours in zip(listed, tagged, strict=True) if is_ours]
        things = [self._thing(kind, each) for each in ours]
        return sorted(things, key=lambda thing: (thing.created, thing.name))

    def _listed(self, kind: Kind) -> Iterable[Mapping[str, Any]]:
        with told(f"listing {kind.word}s", BreedclfError):
            for page in _LISTINGS[kind.listing](self._client):
                yield from page[kind.summaries]

    def _tags(self, arn: str) -> dict[str, str]:
        with told(f"reading the tags of {arn}", BreedclfError):
            try:
                pages = self._client.get_paginator("list_tags").paginate(ResourceArn=arn)
                return {tag["Key"]: tag["Value"] for page in pages for tag in page["Tags"]}
            except ClientError as error:
                if error_code(error) in ("ValidationException", "ResourceNotFound"):  # deleted since it was listed
                    return {}
                raise

    def _trainings(self) -> list[Thing]:
        """Training jobs, those of searches too: one question finds a hundred, with all that their cost needs."""
        ours = {"Filters": [{"Name": f"Tags.{TAG}", "Operator": "Exists"}]}
        with told("listing training jobs", BreedclfError):
            pages = self._client.get_paginator("search").paginate(
                Resource="TrainingJob", SearchExpression=ours, SortBy="CreationTime", SortOrder="Ascending"
            )
            return [self._training(each["TrainingJob"]) for page in pages for each in page["Results"]]

    def _thing(self, kind: Kind, listed: Mapping[str, Any]) -> Thing:
        name, status = listed[kind.name], "-" if kind.status is None else listed[kind.status]
        thing = Thing(kind.word, name, status, listed["CreationTime"].timestamp(), 0.0)
        return self._endpoint(thing) if kind.word == "endpoint" else thing  # a search costs what its trainings do

    def _endpoint(self, thing: Thing) -> Thing:
        """An endpoint costs from its making to now, by the machines that it has now."""
        with told(f"describing endpoint {thing.name}", BreedclfError):
            try:
                endpoint = self._client.describe_endpoint(EndpointName=thing.name)
                config = self._client.describe_endpoint_config(EndpointConfigName=endpoint["EndpointConfigName"])
            except ClientError as error:
                return Thing(**{**vars(thing), "cost": None, "why_unknown": error_message(error)})
        hours, total = (self._now() - thing.created) / _HOUR_SECONDS, 0.0
        for variant in config["ProductionVariants"]:
            if "ServerlessConfig" in variant:
                return Thing(**{**vars(thing), "cost": None, "why_unknown": "serverless: paid by the answer"})
            rate = self._rate("hosting", variant["InstanceType"])
            if rate is None:
                return Thing(**{**vars(thing), "cost": None, "why_unknown": f"no price of {variant['InstanceType']}"})
            total += rate * hours * variant.get("InitialInstanceCount", 1)
        return Thing(**{**vars(thing), "cost": total})

    def _training(self, job: Mapping[str, Any]) -> Thing:
        resources, created = job["ResourceConfig"], job["CreationTime"].timestamp()
        seconds = job.get("BillableTimeInSeconds")
        if seconds is None:
            began = _seconds(job.get("TrainingStartTime"))
            seconds = 0.0 if began is None else (_seconds(job.get("TrainingEndTime")) or self._now()) - began
        rate = self._rate("training", resources["InstanceType"])
        cost = None if rate is None else rate * seconds / _HOUR_SECONDS * resources["InstanceCount"]
        why = f"no price of {resources['InstanceType']}" if rate is None else None
        return Thing("training-job", job["TrainingJobName"], job["TrainingJobStatus"], created, cost, why)

    def _rate(self, use: Use, machine: str) -> float | None:
        found = self._place.rates.instance_hour(self._place.region, use, machine)
        return None if found is None else found.usd

    def _folder(self, uri: str) -> Folder:
        found = list(self._place.storage.entries(uri))
        return Folder(uri, len(found), sum(each.size_bytes for each in found))


@dataclass(frozen=True)
class Cleaning:
    """What a clean-up would stop and delete, in this order, and what it leaves."""

    stopped: tuple[Thing, ...]
    deleted: tuple[Thing, ...]
    left: tuple[Thing, ...]


def cleaning(
    things: Sequence[Thing], *, now: float, older_than_days: float | None = None, stop_running: bool = False
) -> Cleaning:
    """What a clean-up is to do: endpoints, configurations and models go, running jobs stop if asked.

    Jobs that have ended cost nothing and stay, since they are the record of what was done.
    """
    due = [each for each in things if older_than_days is None or now - each.created > older_than_days * _DAY_SECONDS]
    stopped = [each for each in due if stop_running and each.runs and _kind(each.kind).stop is not None]
    deleted = [each for each in due if _kind(each.kind).delete is not None]
    left = [each for each in things if each not in stopped and each not in deleted]
    return Cleaning(tuple(stopped), tuple(deleted), tuple(left))


def clean(inventory: Inventory, todo: Cleaning) -> dict[str, str]:
    """Do it; what SageMaker refuses is told by the thing's name, and doesn't keep the rest."""
    problems: dict[str, str] = {}
    for act, things in ((inventory.stop, todo.stopped), (inventory.delete, todo.deleted)):
        for thing in things:
            try:
                act(thing)
            except BreedclfError as error:
                problems[f"{thing.kind} {thing.name}"] = str(error)
    return problems


# Calls by name, each written out, so that what is called can be read and held against the policies.
_LISTINGS: dict[str, Callable[[Any], Iterable[Mapping[str, Any]]]] = {
    "list_endpoints": lambda client: client.get_paginator("list_endpoints").paginate(),
    "list_endpoint_configs": lambda client: client.get_paginator("list_endpoint_configs").paginate(),
    "list_models": lambda client: client.get_paginator("list_models").paginate(),
    "list_hyper_parameter_tuning_jobs": lambda client: client.get_paginator(
        "list_hyper_parameter_tuning_jobs"
    ).paginate(),
}
_OPERATIONS: dict[str, Callable[[Any, str], Any]] = {
    "delete_endpoint": lambda client, name: client.delete_endpoint(EndpointName=name),
    "delete_endpoint_config": lambda client, name: client.delete_endpoint_config(EndpointConfigName=name),
    "delete_model": lambda client, name: client.delete_model(ModelName=name),
    "stop_training_job": lambda client, name: client.stop_training_job(TrainingJobName=name),
    "stop_hyper_parameter_tuning_job": lambda client, name: client.stop_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=name
    ),
}


def _kind(word: str) -> Kind:
    return next(kind for kind in (*KINDS, TRAINING) if kind.word == word)


def _arn_key(kind: Kind) -> str:
    return kind.name.removesuffix("Name") + "Arn"


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()
