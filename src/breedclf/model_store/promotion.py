"""Makes a version the live one: the gate, then the endpoint that serves it, then the aliases.

While an endpoint is updated, the record says so (`promoting`). If the process is killed meanwhile, the next promotion
finds out which model the endpoint serves, and moves the aliases accordingly.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from breedclf.errors import BreedclfError, ConfigError, EndpointError, GateError
from breedclf.files.paths import StrPath
from breedclf.jobs.endpoints import EndpointDescription, EndpointStatus
from breedclf.jobs.waiting import Clock
from breedclf.model_store.folder import StoreFolder
from breedclf.model_store.gate import Gate, GateCheck, gate_checks
from breedclf.model_store.records import PREVIOUS, EndpointOfModel, ModelRecord, ModelVersion, Promotion

if TYPE_CHECKING:
    from breedclf.api.endpoint import Endpoint
    from breedclf.data.labeled_images import LabeledImages

log: logging.Logger = logging.getLogger(__name__)

SETTLE_SECONDS = 1.0
"""An endpoint may report an update this long after it was requested."""


@dataclass(frozen=True)
class Promoter:
    """Moves the aliases `live` and `previous` of a store, together with endpoints."""

    folder: StoreFolder
    clock: Clock

    def promote(
        self,
        name: str,
        version: int | str,
        *,
        data: StrPath | LabeledImages | Mapping[str, LabeledImages] | None,
        gate: Gate,
        endpoint: Endpoint | None,
        alias_only: bool,
        reason: str,
    ) -> list[GateCheck]:
        """Make a version live if it passes the gate; `ModelStore.promote` describes the rest."""
        with self.folder.promotion(name):
            record = self._settled(name, endpoint)
            chosen = record.version(version)
            self.folder.check_object(chosen.digest)
            checks = self._checks(record, chosen, gate, data)
            if failed := [check for check in checks if not check.passed]:
                why = "; ".join(f"{check.name}: {check.detail}" for check in failed)
                raise GateError(f"the gate refuses version {chosen.version} of {name!r}: {why}; {_stays(record)}")
            self._move(record, chosen, endpoint, alias_only, reason)
        return checks

    def rollback(self, name: str, *, endpoint: Endpoint | None, alias_only: bool, reason: str) -> ModelVersion:
        """Make the previous version live again."""
        with self.folder.promotion(name):
            record = self._settled(name, endpoint)
            if PREVIOUS not in record.aliases:
                raise ConfigError(f"model {name!r} has no previous version to roll back to; {_stays(record)}")
            chosen = record.version(PREVIOUS)
            self.folder.check_object(chosen.digest)
            self._move(record, chosen, endpoint, alias_only, reason)
        return chosen

    def serving(self, record: ModelRecord) -> Endpoint | None:
        """The endpoint of a model; None if it has none, or that is gone.

        Raises:
            BreedclfError: its backend can't be reached.
        """
        if record.endpoint is None:
            return None
        endpoint = _attached(record.endpoint)
        return endpoint if why_gone(endpoint) is None else None

    def _checks(
        self,
        record: ModelRecord,
        chosen: ModelVersion,
        gate: Gate,
        data: StrPath | LabeledImages | Mapping[str, LabeledImages] | None,
    ) -> list[GateCheck]:
        accuracy, most_frequent = _recorded_accuracy(chosen), chosen.metrics.get("most_frequent", 0.0)
        is_live, figures = record.live == chosen.version, None
        if data is not None:
            from breedclf.model_store.gate_figures import gate_figures

            live = None if is_live or record.live is None else record.version(record.live)
            figures = gate_figures(
                self.folder.object(chosen.digest),
                data,
                live=None if live is None else self.folder.object(live.digest),
                names=(f"{record.name} {live.version if live else ''}", f"{record.name} {chosen.version}"),
            )
            accuracy, most_frequent = figures.accuracy, figures.most_frequent
        if accuracy is None and gate.baseline is not None:
            raise ConfigError(
                f"baseline={gate.baseline:g}: version {chosen.version} of {record.name!r} was added without an "
                "evaluation; give the images to measure it on (data, or --data DIR)"
            )
        not_compared = f"version {chosen.version} is live already" if is_live else ""
        return gate_checks(
            gate,
            accuracy=accuracy,
            most_frequent=most_frequent,
            megabytes=chosen.megabytes,
            against_live=None if figures is None else figures.against_live,
            not_compared=not_compared or ("" if figures is None else figures.not_compared),
            parity=None if figures is None else figures.parity,
        )

    def _endpoint_of(self, record: ModelRecord, chosen: ModelVersion) -> Endpoint | None:
        """The endpoint that serves the model now.

        Raises:
            EndpointError: it is gone.
        """
        if record.endpoint is None:
            return None
        found = _attached(record.endpoint)
        if (reason := why_gone(found)) is not None:
            where = "" if record.endpoint.backend == "local" else f" --backend {record.endpoint.backend}"
            raise EndpointError(
                f"endpoint {record.endpoint.name!r} of model {record.name!r} on the backend {record.endpoint.backend} "
                f"is gone, and {_stays(record)}: deploy again (breedclf deploy "
                f"{self.folder.object(chosen.digest)} --name {record.endpoint.name}{where}) and repeat this, or move "
                f"only the alias with --no-endpoint (alias_only=True); the backend says: {reason}"
            )
        return found

    def _move(
        self, record: ModelRecord, chosen: ModelVersion, endpoint: Endpoint | None, alias_only: bool, reason: str
    ) -> None:
        if alias_only:
            served = None if self._is_gone(record) else record.endpoint
        elif (updated := endpoint or self._endpoint_of(record, chosen)) is not None:
            self._update(record, chosen, updated, reason)
            served = EndpointOfModel(name=updated.name, backend=updated.backend.name, version=chosen.version)
        else:
            served = None
        with self.folder.locked():
            now = self.folder.load(record.name)
            moved = now.with_live(now.version(chosen.version).version, self._now(), reason)
            self.folder.save(moved.model_copy(update={"endpoint": served}))

    def _is_gone(self, record: ModelRecord) -> bool:
        """Whether the endpoint on record is known to be gone."""
        try:
            return record.endpoint is not None and self.serving(record) is None
        except BreedclfError:
            return False

    def _update(self, record: ModelRecord, chosen: ModelVersion, endpoint: Endpoint, reason: str) -> None:
        """Update the endpoint, noted in the record before it starts."""
        before = endpoint.describe()
        if before.status is not EndpointStatus.IN_SERVICE:
            why = f": {before.failure_reason}" if before.failure_reason else ""
            raise EndpointError(
                f"endpoint {endpoint.name} is {before.status}{why}; it can be updated once it is InService; "
                f"{_stays(record)}"
            )
        where = EndpointOfModel(name=endpoint.name, backend=endpoint.backend.name)
        promotion = Promotion(version=chosen.version, endpoint=where, generation=before.generation, reason=reason)
        self._note(record.name, promotion)
        try:
            endpoint.update(self.folder.object(chosen.digest))
        except BreedclfError as error:
            then = "the next promotion finds out whether it serves it"
            if _keeps(_described(endpoint), promotion):
                self._note(record.name, None)
                then = _stays(record)
            raise EndpointError(f"version {chosen.version} of {record.name!r}: {error}; {then}") from error

    def _note(self, name: str, promotion: Promotion | None) -> None:
        """Note what is being promoted, from when on it can't be removed.

        Raises:
            ConfigError: another process has removed it meanwhile.
        """
        with self.folder.locked():
            record = self.folder.load(name)
            if promotion is not None:
                record.version(promotion.version)
            self.folder.save(record.model_copy(update={"promoting": promotion}))

    def _settled(self, name: str, endpoint: Endpoint | None) -> ModelRecord:
        """The record, after an interrupted promotion was finished or undone by what the endpoint serves.

        Raises:
            EndpointError: the endpoint isn't in service yet.
        """
        record = self.folder.load(name)
        promotion = record.promoting
        if promotion is None:
            return record
        where = promotion.endpoint
        is_given = endpoint is not None and (endpoint.name, endpoint.backend.name) == (where.name, where.backend)
        asked = endpoint if endpoint is not None and is_given else _attached(where)
        serves_it = self._serves(asked, promotion)
        outcome = "serves it, so it is live" if serves_it else "does not serve it, so it is undone"
        log.warning(
            "the promotion of version %d of %s was interrupted; endpoint %s %s",
            promotion.version,
            name,
            asked.name,
            outcome,
        )
        with self.folder.locked():
            now = self.folder.load(name)
            if serves_it:
                served = where.model_copy(update={"version": promotion.version})
                now = now.with_live(promotion.version, self._now(), f"{promotion.reason} (interrupted)")
                now = now.model_copy(update={"endpoint": served})
            self.folder.save(now.model_copy(update={"promoting": None}))
        return self.folder.load(name)

    def _serves(self, endpoint: Endpoint, promotion: Promotion) -> bool:
        """Whether an endpoint serves the version of an interrupted promotion."""
        self.clock.sleep(SETTLE_SECONDS)
        if why_gone(endpoint) is not None or endpoint.status is EndpointStatus.FAILED:
            return False
        return endpoint.wait().describe().generation == promotion.generation + 1

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self.clock.time(), UTC)


def why_gone(endpoint: Endpoint) -> str | None:
    """The message that there is no such endpoint; None if there is one.

    Raises:
        BreedclfError: its backend can't be reached.
    """
    try:
        endpoint.describe()
    except EndpointError as error:
        if all(each.name != endpoint.name for each in endpoint.backend.list_endpoints()):
            return str(error)
    return None


def _attached(where: EndpointOfModel) -> Endpoint:
    from breedclf.api.deployment import serving_backend
    from breedclf.api.endpoint import Endpoint

    return Endpoint(where.name, serving_backend(where.backend))


def _described(endpoint: Endpoint) -> EndpointDescription | None:
    try:
        return endpoint.describe()
    except BreedclfError:
        return None


def _keeps(now: EndpointDescription | None, promotion: Promotion) -> bool:
    """Whether an endpoint whose update failed serves the same model as before, with nothing under way."""
    return now is not None and now.status is EndpointStatus.IN_SERVICE and now.generation == promotion.generation


def _recorded_accuracy(version: ModelVersion) -> tuple[float, float, float] | None:
    """The accuracy on test images when the version was added, with its interval."""
    found = tuple(version.metrics.get(name) for name in ("test_accuracy", "test_accuracy_low", "test_accuracy_high"))
    share, low, high = found
    return None if share is None or low is None or high is None else (share, low, high)


def _stays(record: ModelRecord) -> str:
    return "no version is live" if record.live is None else f"version {record.live} stays live"
