"""What a model card says about the model that training continued."""

from __future__ import annotations

from pydantic import Field

from breedclf.config import Settings


class StartedFrom(Settings):
    """The model that training continued: the SHA-256 of its weights, and what became of its classes, by label.

    `renamed` maps the label of a kept class to its label in that model, where they differ.
    """

    fingerprint: str
    kept: tuple[str, ...]
    new: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    renamed: dict[str, str] = Field(default_factory=dict)
