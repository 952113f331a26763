"""Keys of the emulator: a random key pair for each start, and temporary credentials for jobs and endpoints."""

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
    """A key pair; temporary ones have a token, an expiry time, and the job or endpoint that owns them."""

    access_key: str
    secret_key: str = field(repr=False)
    arn: str = ROOT_ARN
    token: str | None = field(default=None, repr=False)
    expires: float | None = None
    owner: str | None = None

    @classmethod
    def new(cls) -> Credentials:
        """A long-term key pair like that of an IAM user."""
        return cls(_key_id("AKIA"), secrets.token_urlsafe(30))

    def environment(self, url: str, region: str) -> dict[str, str]:
        """The variables that AWS's SDKs and command line read."""
        variables = {
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": region,
            "AWS_REGION": region,
        }
        return variables | ({"AWS_SESSION_TOKEN": self.token} if self.token else {})


class KeyRing:
    """All valid key pairs; temporary ones are stored in a private file, since jobs outlive the emulator."""

    def __init__(self, root: Credentials, file: Path, clock: Callable[[], float] = time.time) -> None:
        self._file = file
        self._clock = clock
        self._lock = threading.Lock()
        self._sessions = {key: Credentials(**values) for key, values in _read(file).items()}
        self.root = root

    def find(self, access_key: str) -> Credentials | None:
        """The credentials of a key, also for a day after they expired; None for an unknown key."""
        if access_key == self.root.access_key:
            return self.root
        with self._lock:
            return self._sessions.get(access_key)

    def issue(self, arn: str, *, seconds: float | None = None, owner: str | None = None) -> Credentials:
        """Create temporary credentials of a role; without `seconds` they are valid until they are revoked."""
        expires = None if seconds is None else self._clock() + seconds
        made = Credentials(
            _key_id("ASIA"), secrets.token_urlsafe(30), arn, secrets.token_urlsafe(96), expires=expires, owner=owner
        )
        with self._lock:
            self._sessions[made.access_key] = made
            self._write()
        return made

    def revoke(self, owner: str) -> None:
        """Revoke the credentials of a job or an endpoint."""
        with self._lock:
            others = {key: each for key, each in self._sessions.items() if each.owner != owner}
            if len(others) < len(self._sessions):
                self._sessions = others
                self._write()

    def _write(self) -> None:
        day_ago = self._clock() - 86_400
        self._sessions = {
            k: each for k, each in self._sessions.items() if each.expires is None or each.expires > day_ago
        }
        write_private(self._file, json.dumps({key: asdict(each) for key, each in self._sessions.items()}))


@dataclass(frozen=True)
class Access:
    """What jobs and endpoints need to call the emulator: its URL, and keys to issue credentials from."""

    keys: KeyRing
    url: str

    def as_role(self, owner: str, role: str, region: str = DEFAULT_REGION) -> RoleAccess:
        """The access of one job or endpoint with its role."""
        return RoleAccess(self, owner, role, region)


@dataclass(frozen=True)
class RoleAccess:
    """The access of one job or endpoint, from `environment` to `revoke`."""

    access: Access
    owner: str
    role: str
    region: str

    def environment(self) -> dict[str, str]:
        """AWS's variables with temporary credentials of the role, as in a real container."""
        self.revoke()
        made = self.access.keys.issue(assumed_role_arn(self.role, "SageMaker"), owner=self.owner)
        return made.environment(self.access.url, self.region) | _CONTAINER_FILES

    def revoke(self) -> None:
        """Revoke the credentials."""
        self.access.keys.revoke(self.owner)


def assumed_role_arn(role: str, session: str) -> str:
    """The ARN of a session with a role's temporary credentials.

    Example:
        >>> assumed_role_arn("arn:aws:iam::123456789012:role/breedclf", "SageMaker")
        'arn:aws:sts::123456789012:assumed-role/breedclf/SageMaker'
    """
    return f"arn:aws:sts::{ACCOUNT}:assumed-role/{role.rpartition('/')[2]}/{session}"


def shell_lines(environment: Mapping[str, str]) -> str:
    """Shell commands that set these variables and unset those of another session."""
    lines = [f"export {name}={value}" for name, value in environment.items()]
    return "\n".join(lines if "AWS_SESSION_TOKEN" in environment else [*lines, "unset AWS_SESSION_TOKEN AWS_PROFILE"])


def write_private(file: Path, text: str) -> None:
    """Replace a file with one that only this user can read."""
    write_atomic(file, text, mode=0o600)


def private_folder(folder: Path) -> Path:
    """Create the folder if necessary and make it private, since it holds keys."""
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
