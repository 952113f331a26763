"""A search over networks of torchvision and timm at the emulator; its best model is deployed and answers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from breedclf import Categorical, Classifier, Deployment, TrainingConfig, TuningJob
from breedclf.backends.emulator.server import Emulator
from breedclf.models.backbones.backbone import find_backbone
from tests.backends.sagemaker.contexts import backend_at
from tests.integration.conftest import write_patterns

TIMM = "timm:test_efficientnet"


@pytest.mark.slow
def test_a_search_over_networks_trains_deploys_and_answers(
    quick: Emulator, quick_bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("timm")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BREEDCLF_CACHE_DIR", "job-cache")  # in the folder of each job
    images = write_patterns(tmp_path / "images", counts={"train": 12, "valid": 4})
    weights = tmp_path / "own weights.pth"
    torch.save(find_backbone(TIMM).new_network(seed=5).state_dict(), weights)
    config = TrainingConfig(
        data=images, weights="none", device="cpu", chunk_size=8, epochs=1, feature_store=f"s3://{quick_bucket}/features"
    )
    backend = backend_at(
        quick, quick_bucket, tmp_path / "home", serving_image="123456789012.dkr.ecr.us-east-1.amazonaws.com/breeds:1"
    )
    space = {"architecture": Categorical("resnet18", TIMM)}
    tuning = TuningJob(
        config, space, strategy="grid", weights={TIMM: weights}, max_parallel_jobs=2, backend=backend, name="networks"
    )
    notes = [hint for hint in tuning.plan().hints if "multiply-adds" in hint]
    assert notes == [
        "one image through the network: resnet18 1.8 billion multiply-adds, 45 MB of weights; "
        "timm:test_efficientnet 0.057 billion multiply-adds, 1 MB of weights"
    ]
    tuning.run().wait()

    assert {trial.hyperparameters["architecture"]: trial.status for trial in tuning.trials} == {
        "resnet18": "Completed",
        TIMM: "Completed",
    }
    here = TuningJob(config.replace(feature_store=None), space, strategy="grid", weights={TIMM: weights}, home=tmp_path)
    objectives = {trial.hyperparameters["architecture"]: trial.objective for trial in here.run().trials}
    for trial in tuning.trials:
        assert trial.objective == pytest.approx(objectives[trial.hyperparameters["architecture"]], abs=1e-5)
    attached = TuningJob.attach("networks", backend=backend, home=tmp_path / "elsewhere")
    assert attached.study.request.weights["resnet18"] == "none"
    assert attached.wait().best.hyperparameters == tuning.best.hyperparameters

    (other,) = [trial for trial in tuning.trials if trial.hyperparameters["architecture"] == TIMM]
    model = backend.artifact(other.name)
    assert Classifier(model).card.architecture == TIMM
    image = next((images / "valid").rglob("*.png"))
    with Deployment(model, backend=backend, name="tiny").deploy() as endpoint:
        assert endpoint.predict(image).best.label == Classifier(model).predict(image).best.label
