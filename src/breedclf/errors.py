"""All errors that breedclf raises on purpose. Each message says what is wrong, names the value, and suggests a remedy.

```text
BreedclfError
├── ConfigError                 exit code 2: wrong usage or configuration
│   └── MissingExtraError
├── DataError                   exit code 3: bad data
│   ├── ImageError
│   │   └── ImageTooLargeError
│   │       └── ImageTooCostlyError
│   └── DownloadError
├── WeightsError                exit code 3: bad pretrained weights
├── ArtifactError               exit code 3: bad model directory
├── ProfileError                exit code 3: bad profile or trace
├── DiskError                   exit code 4, like all others below
├── ExportError
├── PublishError
├── TrainingError
├── TrainingStoppedError
├── ForkError
├── DemoError
├── GateError                   exit code 1: a model isn't promoted
├── JobError
│   ├── JobFailedError
│   └── JobTimeoutError
└── EndpointError
    ├── ModelError
    └── ParityError
```
"""

from __future__ import annotations

from breedclf.text.printable import storable


class BreedclfError(Exception):
    """Base class of all errors raised on purpose; `exit_code` is the exit status of the command line."""

    exit_code = 4

    def __init__(self, *words: object) -> None:
        super().__init__(*(storable(word) if isinstance(word, str) else word for word in words))


class ConfigError(BreedclfError, ValueError):
    """A setting is unknown, has the wrong type or value, or conflicts with others."""

    exit_code = 2


class MissingExtraError(ConfigError):
    """A package that an optional extra installs is missing."""


class DataError(BreedclfError):
    """A dataset can't be used as it is."""

    exit_code = 3


class ImageError(DataError):
    """An image can't be decoded."""


class ImageTooLargeError(ImageError):
    """An image has too many pixels or bytes to be decoded."""


class ImageTooCostlyError(ImageTooLargeError):
    """An image is encoded in a way that would keep the decoder busy for too long."""


class DownloadError(DataError):
    """A published dataset can't be downloaded, or differs from the one that was published."""


class WeightsError(BreedclfError):
    """Pretrained weights are missing, don't fit the architecture, or aren't safe to load."""

    exit_code = 3


class ArtifactError(BreedclfError):
    """A model directory is missing, damaged, not written by breedclf, or written by a newer version."""

    exit_code = 3


class DiskError(BreedclfError):
    """A file can't be written: the disk is full or read-only, or a quota or limit is reached."""


class ExportError(BreedclfError):
    """An exported model doesn't run, or its predictions differ from those of its model directory; it is discarded."""


class PublishError(BreedclfError):
    """A model can't be uploaded to Hugging Face or a registry: it refuses, or can't be reached."""


class TrainingError(BreedclfError):
    """Training can't continue, for example because the loss is NaN."""


class TrainingStoppedError(BreedclfError):
    """Training was stopped on request before there was a model."""


class ForkError(BreedclfError):
    """This process was forked from one that used a GPU or threads that don't work in a fork, and would hang."""


class GateError(BreedclfError):
    """The gate refuses to promote a model; the live one stays."""

    exit_code = 1


class ProfileError(BreedclfError):
    """A profile or trace is missing, damaged, not written by breedclf, or written by a newer version."""

    exit_code = 3


class JobError(BreedclfError):
    """A job can't be found, read or reached, or an operation on it failed."""


class JobFailedError(JobError):
    """A job has failed; the message contains its failure reason."""


class JobTimeoutError(JobError):
    """A job was still running when the time limit for waiting was reached; the job continues."""


class DemoError(BreedclfError):
    """The demo ran, but its model classifies too few test images correctly."""


class EndpointError(BreedclfError):
    """An endpoint can't be found or reached, failed to start, or doesn't respond in time."""


class ModelError(EndpointError):
    """The model server rejected a request; SageMaker reports this with status 424.

    `original_status_code` and `original_message` are the server's.
    """

    status_code = 424

    def __init__(self, original_status_code: int, original_message: str) -> None:
        super().__init__(f"the model server responded with {original_status_code}: {original_message}")
        self.original_status_code = original_status_code
        self.original_message = original_message


class ParityError(EndpointError):
    """The predictions of a served model differ from those of the model itself; it isn't put into service."""
