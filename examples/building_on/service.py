"""A web service with FastAPI: it classifies images that are sent to it, and starts training jobs.

pip install breedclf fastapi uvicorn
BREEDCLF_MODEL=runs/dogs/model uvicorn --factory service:create_app
curl --data-binary @dog.jpg -H "Content-Type: image/jpeg" http://127.0.0.1:8000/predict

python examples/building_on/service.py     # trains a small model and sends itself requests
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Annotated

from fastapi import Body, FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from breedclf import BreedclfError, Classifier, ImageError, Job, JobStatus, LocalBackend, Trainer, TrainingConfig

MODEL = os.environ.get("BREEDCLF_MODEL", "runs/train/model")


class Guess(BaseModel):
    """One class of an answer."""

    class_name: str
    probability: float


class JobState(BaseModel):
    """A training job as clients of this service see it."""

    name: str
    status: JobStatus
    metrics: dict[str, float] = {}
    failure_reason: str | None = None


def create_app(model: str | Path = MODEL, home: str | Path | None = None) -> FastAPI:
    """The application: `model` answers, and jobs run below `home`."""
    app = FastAPI(title="Dog breeds")
    classifier = Classifier(model)
    backend = LocalBackend(home)

    @app.exception_handler(BreedclfError)
    async def refuse(_: Request, error: BreedclfError) -> JSONResponse:
        """Each error of breedclf is a sentence that says what to do; clients may read it."""
        status = 422 if isinstance(error, ImageError) else 400
        return JSONResponse({"detail": str(error)}, status_code=status)

    # Plain functions run in FastAPI's threads, so a prediction doesn't block other requests.
    @app.post("/predict")
    def predict(image: Annotated[bytes, Body(media_type="image/*")], top: int = 3) -> list[Guess]:
        ranked = classifier.predict(image).top(top)
        return [Guess(class_name=guess.class_name, probability=guess.probability) for guess in ranked]

    @app.post("/jobs", status_code=202)
    def train(config: TrainingConfig) -> JobState:
        """Settings are validated like every body: wrong ones are answered with 422 and the name of the field."""
        return state_of(Trainer(config, backend=backend).submit())

    @app.get("/jobs/{name}")
    def show(name: str) -> JobState:
        return state_of(Job.attach(name, backend=backend))

    return app


def state_of(job: Job) -> JobState:
    description = job.describe()
    return JobState(
        name=job.name,
        status=description.status,
        metrics=dict(description.metrics),
        failure_reason=description.failure_reason,
    )


def main() -> None:
    from fastapi.testclient import TestClient

    from breedclf.testing.images import write_image_set

    with tempfile.TemporaryDirectory() as folder:
        data = write_image_set(Path(folder) / "images", train=8, valid=4, test=1)
        config = TrainingConfig(data=data, architecture="resnet18", weights="none", output=Path(folder) / "run")
        model = Trainer(config).fit().artifact
        home = Path(folder) / "jobs"
        client = TestClient(create_app(model, home))

        image = next((data / "test").rglob("*.jpg"))
        answer = client.post("/predict", content=image.read_bytes(), headers={"Content-Type": "image/jpeg"})
        print(answer.status_code, answer.json())
        refused = client.post("/predict", content=b"not an image", headers={"Content-Type": "image/jpeg"})
        print(refused.status_code, refused.json()["detail"])

        wrong = client.post("/jobs", json={"data": str(data), "epochs": 0})
        print(wrong.status_code, wrong.json()["detail"][0]["loc"], wrong.json()["detail"][0]["msg"])
        started = client.post("/jobs", json=config.replace(epochs=1).to_dict())
        name = started.json()["name"]
        Job.attach(name, backend=LocalBackend(home)).wait()
        print(started.status_code, client.get(f"/jobs/{name}").json()["status"])


if __name__ == "__main__":
    main()
