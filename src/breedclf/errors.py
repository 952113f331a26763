"""Every error that breedclf raises on purpose: what is wrong, the value, and what to do next."""

from __future__ import annotations

from breedclf.text.printable import storable


class BreedclfError(Exception):
    """Base of all errors raised on purpose; `exit_code` is what the command line ends with."""

    exit_code = 4

    def __init__(self, *words: object) -> None:
        super().__init__(*(storable(word) if isinstance(word, str) else word for word in words))


class ConfigError(BreedclfError):
    """A setting is unknown, has the wrong type or doesn't fit the others."""

    exit_code = 2


class MissingExtraError(ConfigError):
    """A feature needs a package that an optional extra installs."""


class DataError(BreedclfError):
    """The images on disk can't be used as they are."""

    exit_code = 3


class ImageError(DataError):
    """One image can't be decoded."""


class ImageTooLargeError(ImageError):
    """One image has more pixels or bytes than are decoded."""


class ImageTooCostlyError(ImageTooLargeError):
    """One image would keep its decoder busy far longer than any honest one."""


class DownloadError(DataError):
    """A published set of images can't be fetched, or isn't the one that was published."""


class WeightsError(BreedclfError):
    """Pretrained weights are missing, don't fit the architecture or aren't safe to load."""

    exit_code = 3


class ArtifactError(BreedclfError):
    """A model folder is missing, corrupted, foreign or written by a newer version."""

    exit_code = 3


class DiskError(BreedclfError):
    """A file can't be written: the disk is full or read-only, or a quota or a limit is reached."""


class ExportError(BreedclfError):
    """An exported model doesn't run, or doesn't answer as its model folder does; it isn't put in place."""


class TrainingError(BreedclfError):
    """Training can't go on, for instance because the loss is no longer a number."""


class ForkError(BreedclfError):
    """This process was forked from one that used what doesn't work in a fork, and would wait for ever."""


class ProfileError(BreedclfError):
    """A profile or a trace is missing, damaged, foreign or written by a newer version."""

    exit_code = 3


class JobError(BreedclfError):
    """A job can't be found, read or reached, or didn't do what was asked of it."""


class JobFailedError(JobError):
    """A job ended as Failed; the message holds its reason."""


class JobTimeoutError(JobError):
    """A job was still running when the time to wait for it was over; it goes on."""


class DemoError(BreedclfError):
    """The demonstration ran, but its model names too few test images rightly."""


class EndpointError(BreedclfError):
    """An endpoint can't be found or reached, didn't come up, or doesn't answer in time."""


class ModelError(EndpointError):
    """The model's server refused a request; SageMaker tells it in the same shape, as status 424."""

    status_code = 424

    def __init__(self, original_status_code: int, original_message: str) -> None:
        super().__init__(f"the model's server answered {original_status_code}: {original_message}")
        self.original_status_code = original_status_code
        self.original_message = original_message


class ParityError(EndpointError):
    """A served model doesn't answer as the same model does when asked directly; it isn't put into service."""
