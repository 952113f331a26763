"""Deploy a model, predict images, update the model while it serves requests, and delete the endpoint."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path

from breedclf import Deployment, LocalBackend, Trainer, TrainingConfig
from breedclf.testing.images import write_image_set


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        data = write_image_set(Path(folder) / "images", classes=2, train=6, valid=2, test=3, size_px=64)
        config = TrainingConfig(
            data=data,
            architecture="resnet18",
            weights="none",
            epochs=1,
            output=Path(folder) / "out",
            feature_cache=False,
        )
        model = Trainer(config).fit().artifact
        images = sorted((data / "test").rglob("*.jpg"))

        backend = LocalBackend(Path(folder) / "home")
        with Deployment(model, backend=backend, name="example", ttl_seconds=600).deploy() as endpoint:
            print("in service at", endpoint.url)
            for image, prediction in zip(images, endpoint.predict_many(images), strict=True):
                print(f"{image.parent.name}/{image.name}: {prediction}")

            answered, updating = 0, threading.Thread(target=endpoint.update, args=(model,))
            updating.start()
            while updating.is_alive():
                answered += len(endpoint.predict_many(images))
            updating.join()
            print(
                f"now serving model {endpoint.describe().generation}; requests answered during the update: {answered}"
            )
        print("endpoint deleted:", backend.list_endpoints() == [])


if __name__ == "__main__":
    main()
