"""Decides what a clean-up of an account deletes, stops and leaves, and performs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from breedclf.backends.sagemaker.account.inventory import Folder, Inventory, Thing
from breedclf.backends.sagemaker.account.kinds import REGISTRY, kind_of
from breedclf.errors import BreedclfError

_DAY_SECONDS = 86_400.0


@dataclass(frozen=True)
class Cleaning:
    """What a clean-up stops and deletes, in this order, and what it leaves; `folders` are in S3."""

    stopped: tuple[Thing, ...]
    deleted: tuple[Thing, ...]
    left: tuple[Thing, ...]
    folders: tuple[Folder, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.stopped or self.deleted or self.folders)


def cleaning(
    things: Sequence[Thing],
    *,
    now: float,
    owner: str | None,
    everyones: bool = False,
    older_than_days: float | None = None,
    stop_running: bool = False,
    registry: bool = False,
    folders: Sequence[Folder] = (),
) -> Cleaning:
    """Plan a clean-up: delete endpoints, configurations and models, and stop running jobs if `stop_running`.

    The model registry, which costs nothing, stays unless `registry`.

    Jobs that have ended cost nothing and stay as a record. Only resources with the tag of `owner` are affected, unless
    `everyones`, which includes those without an owner tag.
    """
    selected = [each for each in things if everyones or (owner is not None and each.owner == owner)]
    due = [each for each in selected if older_than_days is None or now - each.created > older_than_days * _DAY_SECONDS]
    stopped = [each for each in due if stop_running and each.runs and kind_of(each.kind).stop is not None]
    deleted = [each for each in due if kind_of(each.kind).delete is not None and (registry or each.kind != REGISTRY)]
    left = [each for each in things if each not in stopped and each not in deleted]
    return Cleaning(tuple(stopped), tuple(deleted), tuple(left), tuple(folders))


def clean(inventory: Inventory, todo: Cleaning) -> dict[str, str]:
    """Perform the clean-up; returns the errors by resource, which don't stop the rest."""
    problems: dict[str, str] = {}
    for act, things in ((inventory.stop, todo.stopped), (inventory.delete, todo.deleted)):
        for thing in things:
            try:
                act(thing)
            except BreedclfError as error:
                problems[f"{thing.kind} {thing.name}"] = str(error)
    for folder in todo.folders:
        try:
            inventory.delete_folder(folder)
        except BreedclfError as error:
            problems[folder.uri] = str(error)
    return problems
