"""Who may call: a random key pair for each start, and the temporary ones that jobs and endpoints get from it."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from breedclf.backends.emulator.protocol import ACCOUNT, DEFAULT_REGION
from breedclf.files.disk import write_atomic
from breedclf.files.private_folder import make_private

ROOT_ARN = f"arn:aws:iam::{ACCOUNT}:user/emulator"
DEFAULT_SESSION_SECONDS = 3600
_CONTAINER_FILES = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}


@dataclass(frozen=True)
class Credentials:
    """A key pair, with the token and the end of a temporary one; `owner` is the job or endpoint that it is for."""

    access_key: str
    secret_key: str = field(repr=False)
    arn: str = ROOT_ARN
    token: str | None = field(default=None, repr=False)
    expires: float | None = None
    owner: str | None = None

    @classmethod
    def new(cls) -> Credentials:
        """A long-term key pair, as an IAM user has it."""
        return cls(_key_id("AKIA"), secrets.token_urlsafe(30))

    def environment(self, url: str, region: str) -> dict[str, str]:
        """The variables that AWS's SDKs and command line read."""
        found = {
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": region,
            "AWS_REGION": region,
        }
        return found | ({"AWS_SESSION_TOKEN": self.token} if self.token else {})


class KeyRing:
    """Every key pair that is valid now; the temporary ones are in a private file, since jobs outlive an emulator."""

    def __init__(self, root: Credentials, file: Path, clock: Callable[[], float] = time.time) -> None:
        self._file = file
        self._clock = clock
        self._lock = threading.Lock()
        self._sessions = {key: Credentials(**values) for key, values in _read(file).items()}
        self.root = root

    def find(self, access_key: str) -> Credentials | None:
        """The credentials of a key, for some time after their end too; None when nobody has that key."""
        if access_key == self.root.access_key:
            return self.root
        with self._lock:
            return self._sessions.get(access_key)

    def issue(self, arn: str, *, seconds: float | None = None, owner: str | None = None) -> Credentials:
        """Temporary credentials of a role; without `seconds` they last until they are revoked."""
        expires = None if seconds is None else self._clock() + seconds
        made = Credentials(
            _key_id("ASIA"), secrets.token_urlsafe(30), arn, secrets.token_urlsafe(96), expires=expires, owner=owner
        )
        with self._lock:
            self._sessions[made.access_key] = made
            self._write()
        return made

    def revoke(self, owner: str) -> None:
        """End the credentials of a job or an endpoint."""
        with self._lock:
            kept = {key: each for key, each in self._sessions.items() if each.owner != owner}
            if len(kept) < len(self._sessions):
                self._sessions = kept
                self._write()

    def _write(self) -> None:
        day_ago = self._clock() - 86_400
        self._sessions = {
            k: each for k, each in self._sessions.items() if each.expires is None or each.expires > day_ago
        }
        write_private(self._file, json.dumps({key: asdict(each) for key, each in self._sessions.items()}))


@dataclass(frozen=True)
class Access:
    """How what the emulator starts gets at it: the address, and the keys of which each gets some of its own."""

    keys: KeyRing
    url: str

    def as_role(self, owner: str, role: str, region: str = DEFAULT_REGION) -> RoleAccess:
        """That of one job or endpoint, which runs as a role."""
        return RoleAccess(self, owner, role, region)


@dataclass(frozen=True)
class RoleAccess:
    """The access of one job or endpoint, from `environment` to `revoke`."""

    access: Access
    owner: str
    role: str
    region: str

    def environment(self) -> dict[str, str]:
        """AWS's variables, with temporary credentials of the role, as a real container has them."""
        self.revoke()
        made = self.access.keys.issue(assumed_role_arn(self.role, "SageMaker"), owner=self.owner)
        return made.environment(self.access.url, self.region) | _CONTAINER_FILES

    def revoke(self) -> None:
        """End the credentials."""
        self.access.keys.revoke(self.owner)


def assumed_role_arn(role: str, session: str) -> str:
    """Who one is with a role's temporary credentials.

    Example:
        >>> assumed_role_arn("arn:aws:iam::123456789012:role/breedclf", "SageMaker")
        'arn:aws:sts::123456789012:assumed-role/breedclf/SageMaker'
    """
    return f"arn:aws:sts::{ACCOUNT}:assumed-role/{role.rpartition('/')[2]}/{session}"


def shell_lines(environment: Mapping[str, str]) -> str:
    """Lines for a shell: these variables, and none of another account's session."""
    lines = [f"export {name}={value}" for name, value in environment.items()]
    return "\n".join(lines if "AWS_SESSION_TOKEN" in environment else [*lines, "unset AWS_SESSION_TOKEN AWS_PROFILE"])


def write_private(file: Path, text: str) -> None:
    """Replace a file by one that this user alone can read."""
    write_atomic(file, text, mode=0o600)


def private_folder(folder: Path) -> Path:
    """The folder, made if need be, and closed to other users in any case: what lies below it are keys."""
    make_private(folder)
    folder.chmod(0o700)
    return folder


def _read(file: Path) -> dict[str, dict[str, Any]]:
    with contextlib.suppress(FileNotFoundError, ValueError):
        found: dict[str, dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
        return found
    return {}


def _key_id(prefix: str) -> str:
    return prefix + base64.b32encode(secrets.token_bytes(10)).decode()
