"""The features of some training images, stored with a model: an image far from all of them is none of its classes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
import torch.nn.functional as F
from pydantic import Field
from safetensors.torch import load_file

from breedclf.config import Settings
from breedclf.errors import ArtifactError
from breedclf.files.model_folder import BANK_FILE
from breedclf.files.tensor_files import save_tensors

_ROWS, _BASIS = "rows", "basis"
_LEAST_NORM = 1e-12


class BankRecord(Settings):
    """What the model card says about the feature bank.

    An image is known if its distance is at most `threshold`, which keeps `kept_share` of the `limited_on` images.
    `near_auroc` says how well similar classes are told from those of the model: the probability that an image of one
    class, whose rows are left out, has a higher distance than one of another class; the mean over up to 10 classes.
    """

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    images: int = Field(ge=1)
    neighbor: int = Field(ge=1)
    threshold: float = Field(ge=0, le=2)
    kept_share: float = Field(gt=0, le=1)
    limited_on: str
    limited_on_images: int = Field(ge=1)
    near_auroc: float | None = Field(default=None, ge=0, le=1)


@dataclass(frozen=True)
class FeatureBank:
    """Features of training images, to which those of other images are compared.

    Args:
        rows: float16 [M, K]; of unit length if there is no basis.
        neighbor: the distance of an image is that to its nearest row with this number, counted from 1.
        basis: float32 [D, K], the orthonormal directions on which features of unit length are projected; None if K is
            D. What an image has outside them is lost, and makes it less similar to every row.
    """

    rows: torch.Tensor
    neighbor: int
    basis: torch.Tensor | None = None

    def projected(self, features: torch.Tensor) -> torch.Tensor:
        """Features [N, D] as they are compared: float32 [N, K]."""
        wide = features.float()
        if self.basis is None:
            return F.normalize(wide, dim=1)
        norms = torch.linalg.vector_norm(wide, dim=1, keepdim=True).clamp_min(_LEAST_NORM)
        projected: torch.Tensor = (wide @ self.basis) / norms
        return projected

    def distances(self, features: torch.Tensor) -> torch.Tensor:
        """The distances of N images, float32 [N], from 0 (the same) to 2 (opposite).

        Each is 1 minus the cosine similarity to the k-th most similar row, where k is `neighbor` (Sun et al.,
        Out-of-Distribution Detection with Deep Nearest Neighbors, 2022).

        Args:
            features: of any float type, [N, D].
        """
        similarities = self.projected(features) @ self.rows.float().T
        return (1 - similarities.topk(min(self.neighbor, len(self.rows)), dim=1).values[:, -1]).clamp(0, 2)

    def to(self, device: torch.device) -> Self:
        """The same bank on a device, with its rows in float32, for repeated use."""
        basis = None if self.basis is None else self.basis.to(device)
        return type(self)(self.rows.to(device).float(), self.neighbor, basis)

    def save(self, folder: Path) -> None:
        """Write it into a model directory.

        Raises:
            OSError: the file can't be written.
        """
        basis = {} if self.basis is None else {_BASIS: self.basis}
        save_tensors({_ROWS: self.rows.half(), **basis}, folder / BANK_FILE)

    @classmethod
    def load(cls, folder: Path, record: BankRecord, features: int) -> Self:
        """Read it from a model directory whose file is as the record says.

        Args:
            folder: the model directory.
            record: that of its card.
            features: D, the width of the model's features.

        Raises:
            ArtifactError: the file can't be read, or is of another backbone.
        """
        path = folder / BANK_FILE
        try:
            tensors = load_file(path)
        except Exception as error:  # given a damaged header, safetensors may raise anything
            raise ArtifactError(f"{path} can't be read: {error}; train again or restore the file") from error
        rows, basis = tensors.get(_ROWS), tensors.get(_BASIS)
        width = features if basis is None or basis.ndim != 2 else basis.shape[1]
        fits = rows is not None and rows.shape == (record.images, width)
        fits = fits and (basis is None or basis.shape == (features, width))
        if not fits or any(not bool(each.isfinite().all()) for each in tensors.values()):
            raise ArtifactError(
                f"{path} doesn't fit the model, whose images have {features} features: it is damaged or of another "
                "backbone; train again or restore the file"
            )
        assert rows is not None
        return cls(rows, record.neighbor, basis)


@dataclass(frozen=True)
class LimitedBank:
    """A bank, and the distance `threshold` that keeps `kept_share` of `images` images of `limited_on`."""

    bank: FeatureBank
    threshold: float
    kept_share: float
    limited_on: str
    images: int
    near_auroc: float | None = None

    def record(self, sha256: str) -> BankRecord:
        """What the model card says about it; `sha256` is that of its file."""
        return BankRecord(
            sha256=sha256,
            images=len(self.bank.rows),
            neighbor=self.bank.neighbor,
            threshold=self.threshold,
            kept_share=self.kept_share,
            limited_on=self.limited_on,
            limited_on_images=self.images,
            near_auroc=self.near_auroc,
        )
