"""Where the images of a run come from: the folder that the settings name, or objects that the program has."""

from __future__ import annotations

from breedclf.config.training import TrainingConfig
from breedclf.errors import ConfigError
from breedclf.files.s3_uri import whole_uri


def check_one_origin(config: TrainingConfig, images: object) -> None:
    """Check that the settings name a folder, or that there are images, but not both.

    Raises:
        ConfigError: there is neither, or both.
    """
    if config.data is None and images is None:
        raise ConfigError("there are no images: set data in the config, or give images=")
    if config.labels is not None and config.data is None:
        labels = whole_uri(config.labels)
        raise ConfigError(f"labels={labels!r} is a table for the images of a folder: set data as well")
    if config.data is not None and images is not None:
        raise ConfigError(
            f"data={whole_uri(config.data)!r} and images= are both given: leave out data to use the images, or "
            "images= to use the folder"
        )


def refuse_images(images: object, where: str) -> None:
    """Refuse images that this program has where another process would need them.

    Raises:
        ConfigError: there are some.
    """
    if images is not None:
        raise ConfigError(
            f"images= are objects of this process, which {where} can't read: write them as an image folder with "
            "write_image_folder(images, FOLDER), and use TrainingConfig(data=FOLDER)"
        )
