"""`RemoteStore`: a feature store in S3, checked when it is opened, and the passes that jobs share through it."""

from __future__ import annotations

import json
import logging
import os
import secrets
import socket
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Self

import numpy as np
from numpy.typing import NDArray

from breedclf.errors import ConfigError
from breedclf.features.remote.bucket import Bucket, NoConditionsFailure, S3Failure, store_location
from breedclf.features.remote.lease import Holder, Lease, take
from breedclf.features.remote.remote_set import RemoteSet
from breedclf.features.remote.shared_pass import Compute, PassTimes, SharedPass
from breedclf.features.store.spec import FeatureSpec
from breedclf.features.store_access import StoreAccess

FORMAT = 1
MARKER = "feature-store.json"
_GLOBAL = "aws-global"

log: logging.Logger = logging.getLogger(__name__)


class RemoteStore:
    """A feature store in S3.

    Args:
        bucket: the bucket and prefix.
        has_leases: whether the service supports conditional writes.
        times: how often to do what.
    """

    def __init__(self, bucket: Bucket, *, has_leases: bool = True, times: PassTimes | None = None) -> None:
        self.bucket = bucket
        self._has_leases = has_leases
        self._times = times or PassTimes()
        self._holder = Holder(os.environ.get("TRAINING_JOB_NAME") or socket.gethostname(), secrets.token_hex(8))
        self._sets: dict[str, RemoteSet] = {}

    @classmethod
    def open(cls, uri: str, *, times: PassTimes | None = None) -> Self:
        """Open a store, and check that this process can list, read and write it.

        Raises:
            ConfigError: the URI is wrong, there is no such bucket, it is in another region, a permission is missing,
                or a later version has written the store. The message names the bucket, the action and a remedy.
            MissingExtraError: boto3 isn't installed.
        """
        bucket = Bucket.at(store_location(uri))
        try:
            region, own = bucket.region(), bucket.client_region
            if region and own not in (region, _GLOBAL):
                raise ConfigError(
                    f"feature_store={uri}: bucket {bucket.location.bucket} is in {region}, and this runs in {own}, so "
                    f"that each transfer would be billed: use a bucket in {own}"
                )
            _check_version(bucket)
            has_leases = _has_conditions(bucket)
        except S3Failure as failure:
            raise ConfigError(f"feature_store={uri} can't be used: {failure}") from failure
        if not has_leases:
            log.warning(
                "the service of %s doesn't support conditional writes: jobs that run at once compute the same images",
                uri,
            )
        return cls(bucket, has_leases=has_leases, times=times)

    def share(
        self,
        spec: FeatureSpec,
        local: StoreAccess,
        digests: NDArray[np.uint8],
        compute: Compute,
        on_wait: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Bring the features of these images into `local`: from S3, or by `compute`, whose results are uploaded.

        Args:
            spec: the spec of the set.
            local: the set on this machine.
            digests: uint8 [N, 16], each once.
            compute: computes and appends images; see `Compute`.
            on_wait: called while other jobs compute, with the number of images that are there.
        """
        key = spec.key
        if key not in self._sets:
            about = {"format": FORMAT, "spec": asdict(spec)}
            self._sets[key] = RemoteSet(self.bucket, key, self._holder.writer, json.dumps(about, indent=2) + "\n")
        take_part = partial(self._take, key)
        SharedPass(self._sets[key], local, digests, compute, take_part, times=self._times, on_wait=on_wait).run()

    def _take(self, key: str, part: str) -> Lease | Holder | None:
        """The lease of a part, who holds it, or None if the service has no leases."""
        if not self._has_leases:
            return None
        return take(self.bucket, f"{key}/leases/{part}", self._holder, self._times.lease)


def _has_conditions(bucket: Bucket) -> bool:
    """Whether the service supports conditional writes; this also checks that the store can be written.

    A service that ignores the condition writes the marker again, which changes nothing.
    """
    marker = (json.dumps({"format": FORMAT}) + "\n").encode()
    try:
        if bucket.put_if(MARKER, marker, None) is not None:
            return bucket.put_if(MARKER, marker, None) is None
    except NoConditionsFailure:
        if bucket.get(MARKER) is None:
            bucket.put(MARKER, marker)
        return False
    return True


def _check_version(bucket: Bucket) -> None:
    found = bucket.get(MARKER)
    try:
        version = FORMAT if found is None else int(json.loads(found.body)["format"])
    except (ValueError, KeyError, TypeError):
        raise ConfigError(f"{bucket.location}/{MARKER} is damaged: delete it, or use another prefix") from None
    if version > FORMAT:
        raise ConfigError(
            f"feature_store={bucket.location}: a later version of breedclf has written it (format {version}, this one "
            f"reads {FORMAT}): upgrade breedclf, or use another prefix"
        )
