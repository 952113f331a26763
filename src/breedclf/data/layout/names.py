"""What names mean: usual spellings of splits, folders of systems and tools, image files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

from breedclf.data.images import IMAGE_SUFFIXES

SPELLINGS = {
    "train": ("train", "training"),
    "valid": ("valid", "val", "validation", "validate", "dev"),
    "test": ("test", "testing"),
    "eval": ("eval", "evaluation"),
}
"""Names of splits in lower case. `eval` means valid, or test if there is another folder for valid."""

_DECORATIONS = frozenset({"set", "data", "dataset", "image", "images", "img", "imgs", "split"})
_SPLIT_OF = {spelling: split for split, spellings in SPELLINGS.items() for spelling in spellings}
_RANK = {spelling: rank for spellings in SPELLINGS.values() for rank, spelling in enumerate(spellings)}
_ENDING = re.compile(r"(set|data|images|\d+)$")
_SYSTEM = frozenset(
    {
        # macOS archives and network shares
        "__macosx",
        "network trash folder",
        "temporary items",
        "thevolumesettingsfolder",
        # Windows
        "$recycle.bin",
        "recycler",
        "recycled",
        "$extend",
        "system volume information",
        # NAS: Synology, QNAP, NetApp
        "@eadir",
        "#recycle",
        "#snapshot",
        "@tmp",
        "@sharebin",
        "@recycle",
        "@recently-snapshot",
        "~snapshot",
        # Unix file systems
        "lost+found",
        # tools
        "__pycache__",
        "node_modules",
        "mlruns",
        "wandb",
        "lightning_logs",
    }
)
_CHECKED_DISK = re.compile(r"found\.\d{3}")


class RankedSplit(NamedTuple):
    """The split that a name means; of several folders for one split, the one that sorts first is used."""

    split: str
    decorated: bool
    rank: int
    is_other_case: bool


def skip_reason(name: str) -> Literal["system", "hidden"] | None:
    """Why a folder with that name is never read; None if it is read."""
    if name.startswith("."):
        return "hidden"
    folded = name.casefold()
    return "system" if folded in _SYSTEM or _CHECKED_DISK.fullmatch(folded) else None


def is_image_name(name: str) -> bool:
    """Whether a file with that name is read as an image."""
    dot = name.rfind(".")
    return dot >= 0 and name[dot:].lower() in IMAGE_SUFFIXES


def ranked_split(name: str) -> RankedSplit | None:
    """The split that a name means: a usual spelling in any case, optionally with a word like `set` or `images`.

    Example:
        >>> [ranked_split(name).split for name in ("Train", "validation", "test_set", "trainset")]
        ['train', 'valid', 'test', 'train']
        >>> ranked_split("bullet_train")
    """
    words = [word for word in _words(name) if word not in _DECORATIONS]
    if len(words) != 1:
        return None
    word = words[0] if words[0] in _SPLIT_OF else re.sub(r"(set|data|images)$", "", words[0])
    if word not in _SPLIT_OF:
        return None
    return RankedSplit(_SPLIT_OF[word], word != name.casefold(), _RANK[word], name != name.lower())


def loose_split(name: str) -> str | None:
    """The split that a name contains among other words, such as `seg_train` or `train2017`; None if it isn't unique."""
    words = {word if word in _SPLIT_OF else _ENDING.sub("", word) for word in _words(name)}
    found = {_SPLIT_OF[word] for word in words if word in _SPLIT_OF}
    return found.pop() if len(found) == 1 else None


def some_names(names: Sequence[str], *, most: int = 5) -> str:
    """The first names in quotes, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(repr(name) for name in names[:most]) + more


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[\W_]+", name.casefold()) if word]
