"""PNG files of explanations: one per image, with names that are safe and unique."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from breedclf.errors import ConfigError
from breedclf.explanations.explanation import Explanation
from breedclf.files.disk import write_atomic, writing
from breedclf.text.printable import visible_name

_LONGEST = 100


def png_names(images: Sequence[str]) -> list[str]:
    """A file name for each image, in order; those of equal names get a number.

    Example:
        >>> png_names(["dogs/a.jpg", "cats/A.png", "what is it?.webp"])
        ['a.png', 'A-2.png', 'what_is_it_.png']
    """
    taken, names = set[str](), list[str]()
    for image in images:
        plain = "".join(each if each.isalnum() or each in "-_." else "_" for each in Path(image).stem)
        plain = plain.lstrip(".")[:_LONGEST] or "image"
        name, number = plain, 1
        while name.lower() in taken:  # file systems may not tell upper from lower case
            number += 1
            name = f"{plain}-{number}"
        taken.add(name.lower())
        names.append(f"{name}.png")
    return names


def new_files(folder: Path, images: Sequence[str]) -> list[Path]:
    """The file for the explanation of each image, none of which exists; the folder is created.

    Raises:
        ConfigError: one of them exists, or `folder` is a file.
        DiskError: the folder can't be created.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"--explain {visible_name(str(folder))} is a file: give a folder for the PNG files")
    files = [folder / name for name in png_names(images)]
    if there := [file for file in files if file.exists()]:
        more = f" and {len(there) - 1} more exist" if len(there) > 1 else " exists"
        raise ConfigError(
            f"--explain {visible_name(str(folder))}: {visible_name(there[0].name)}{more} already; choose "
            "another folder, or delete it"
        )
    with writing(folder, "choose another folder"):
        folder.mkdir(parents=True, exist_ok=True)
    return files


def save_png(explanation: Explanation, file: Path) -> None:
    """Write the explanation's image as a PNG file.

    Raises:
        DiskError: the disk refuses.
    """
    content = BytesIO()
    explanation.image().save(content, "PNG", optimize=True)
    with writing(file, "make room, or choose another folder"):
        write_atomic(file, content.getvalue())
