"""`set.json`: what the features of a set are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from breedclf.features.store.index import DamagedError
from breedclf.features.store.row_type import RowType
from breedclf.features.store.spec import FORMAT, FeatureSpec
from breedclf.files.disk import write_atomic

FILE = "set.json"


class NewerFormatError(ValueError):
    """A later version of breedclf has written the set."""


@dataclass(frozen=True)
class SetDescription:
    """The spec of a set, as JSON, and the type of its rows."""

    spec: Mapping[str, object]
    row_type: RowType

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """The description of the set in a folder; None if no features were stored yet.

        Raises:
            DamagedError: it is damaged, or of an older version.
            NewerFormatError: a later version has written it.
            OSError: it can't be read.
        """
        try:
            content = (folder / FILE).read_bytes()
        except FileNotFoundError:
            return None
        try:
            about = json.loads(content)
            version = int(about["format"])
            if version <= FORMAT:
                row_type = RowType(str(about["dtype"]), tuple(int(size) for size in about["shape"]))
                if version == FORMAT and row_type.row_bytes > 0:
                    return cls(dict(about["spec"]), row_type)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise DamagedError(f"its {FILE} is damaged") from error
        if version < FORMAT:
            raise DamagedError(f"its {FILE} is of an older version")
        raise NewerFormatError(
            f"{folder / FILE} is of a later version of breedclf, format {version}, and this one reads {FORMAT}: "
            "upgrade breedclf, or use another folder"
        )

    @classmethod
    def write(cls, folder: Path, spec: FeatureSpec, row_type: RowType) -> None:
        """Describe the set in a folder, durably.

        Raises:
            OSError: the disk refuses.
        """
        about = {"format": FORMAT, "spec": asdict(spec), "dtype": row_type.dtype, "shape": row_type.shape}
        write_atomic(folder / FILE, json.dumps(about, indent=2) + "\n", sync=True)
