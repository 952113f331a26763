"""A profile of networks other than ResNets: rules about layers that they don't have say so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from breedclf import ProfilingSession, TrainingConfig


@pytest.mark.parametrize("name", ["timm:test_convnext", "timm:test_vit3"])
def test_rules_about_other_layers_don_t_apply(
    images: Path, weights_of: Callable[[str], Path], tmp_path: Path, name: str
) -> None:
    config = TrainingConfig(
        data=images, architecture=name, weights=str(weights_of(name)), freeze="last_stage", backbone_learning_rate=1e-4,
        epochs=1, batch_size=4, chunk_size=8, device="cpu", workers=0, output=tmp_path / "run",
    )  # fmt: skip
    session = ProfilingSession(config).run()
    found = {finding.rule: finding for finding in session.findings}
    assert found["DeadRelu"].status == found["SaturatedActivation"].status == "not_applicable"
    assert found["DeadRelu"].evidence == "no ReLU layer was recorded"
    assert {found[rule].status for rule in ("VanishingGradient", "ExplodingTensor", "WeightUpdateRatio")} == {"ok"}
    assert session.report(tmp_path / "report.html").stat().st_size > 10_000
