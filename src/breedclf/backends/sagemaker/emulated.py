"""`EmulatorBackend`: the emulator that runs on this machine, found by the file that it writes in its home folder."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3

from breedclf.backends.common.folder import home_folder
from breedclf.backends.sagemaker.backend import SageMakerBackend
from breedclf.backends.sagemaker.clients import AwsClients
from breedclf.errors import ConfigError
from breedclf.files.paths import StrPath

ENVIRONMENT_FILE = Path("emulator", "environment.sh")
_ROLE = "arn:aws:iam::123456789012:role/emulator"  # the emulator allows every role everything
_POLL_SECONDS = 1.0
_RETRIES = 2  # one that is gone doesn't come back within a call


@dataclass
class EmulatorClients(AwsClients):
    """Clients of the emulator that writes `file`; one that is started later, with other keys, is found as well.

    Without the file, the emulator is the one in the environment (`AWS_ENDPOINT_URL`).
    """

    file: Path = field(kw_only=True)
    _written: str = field(default="", repr=False)

    @classmethod
    def of(cls, file: Path) -> EmulatorClients:
        """Clients of the emulator that writes a file."""
        return cls(boto3.Session(), retries=_RETRIES, file=file)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).of, (self.file,)

    def __call__(self, service: str) -> Any:
        """The client of a service.

        Raises:
            ConfigError: no emulator is running.
        """
        self._find()
        return super().__call__(service)

    def _find(self) -> None:
        try:
            text = self.file.read_text(encoding="utf-8")
        except FileNotFoundError:
            if "AWS_ENDPOINT_URL" in os.environ:
                return
            raise ConfigError(
                f"no emulator runs with the home folder {self.file.parents[1]}; `breedclf sagemaker emulate` starts one"
            ) from None
        with self._lock:
            if text != self._written:
                found = exported(text)
                self._made.clear()
                self.session = boto3.Session(
                    found.get("AWS_ACCESS_KEY_ID"),
                    found.get("AWS_SECRET_ACCESS_KEY"),
                    region_name=found.get("AWS_REGION"),
                )
                self.endpoint_url, self._written = found.get("AWS_ENDPOINT_URL"), text


class EmulatorBackend(SageMakerBackend):
    """Runs jobs, searches and endpoints on the emulator of SageMaker that runs on this machine.

    Args:
        home: the emulator's home folder; defaults to `BREEDCLF_HOME` or `.breedclf`.
        keywords: as for `SageMakerBackend`; none is needed.

    Raises:
        ConfigError: a setting is unknown, invalid, or conflicts with another one.

    Example:
        >>> EmulatorBackend("emulated").name
        'emulator'
    """

    name = "emulator"

    def __init__(self, home: StrPath | None = None, **keywords: Any) -> None:
        folder = home_folder(home)
        clients = keywords.pop("clients", None) or EmulatorClients.of(folder / ENVIRONMENT_FILE)
        if keywords.get("settings") is None:
            keywords = {"role": _ROLE, "poll_seconds": _POLL_SECONDS, "delay_seconds": _POLL_SECONDS} | keywords
        super().__init__(home=folder, clients=clients, **keywords)


def exported(text: str) -> dict[str, str]:
    """The variables that a shell script exports.

    Example:
        >>> exported("export AWS_REGION=us-east-1\\nunset AWS_PROFILE\\n")
        {'AWS_REGION': 'us-east-1'}
    """
    words = [shlex.split(line) for line in text.splitlines()]
    pairs = [line[1].partition("=") for line in words if len(line) == 2 and line[0] == "export"]
    return {name: value for name, _, value in pairs}
