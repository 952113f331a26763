"""Take the screenshots in docs/images again, from a model of synthetic images: python docs/screenshots.py

Needs chromium, and the development environment.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from PIL import Image

from breedclf import Deployment, LocalBackend, ProfilingSession, Trainer, TrainingConfig
from breedclf.testing.images import write_image_set

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent))

from tests.serving.browser import Browser, browser, find_chromium  # noqa: E402

WIDTH_PX = 1000


def main() -> None:
    program = find_chromium()
    if program is None:
        sys.exit("screenshots need chromium")
    with tempfile.TemporaryDirectory() as name, browser(program) as page:
        folder = Path(name)
        data = write_image_set(folder / "images", train=40, size_px=256)
        network = {"architecture": "resnet18", "weights": "none", "cache_dir": folder / "cache"}
        model = Trainer(TrainingConfig(data=data, epochs=20, output=folder / "out", **network)).fit().artifact

        # A few images and too many epochs at a high rate, so that the report has something to report.
        few = write_image_set(folder / "few", train=5, valid=8, test=0, size_px=256)
        config = TrainingConfig(data=few, epochs=40, learning_rate=0.05, output=folder / "synthetic-images", **network)
        page.open(ProfilingSession(config).run().report(folder / "report.html").as_uri(), width=WIDTH_PX)
        save(page, "profiling-report.png", height=1370)

        with Deployment(model, backend=LocalBackend(folder / "jobs")).deploy() as endpoint:
            page.open(endpoint.url, width=WIDTH_PX)
            page.choose("#file", next((data / "test").rglob("*.jpg")))
            page.until("!document.getElementById('result').hidden")
            page.run("document.getElementById('explain').click()")
            page.until("document.getElementById('map').naturalWidth > 0")
            save(page, "serving-page.png", height=1010)


def save(page: Browser, name: str, *, height: int) -> None:
    """The top of the page, in 256 colors: a page has few, and the file stays small."""
    path = DOCS / "images" / name
    page.screenshot(path)
    with Image.open(path) as image:
        top = image.convert("RGB").crop((0, 0, image.width, min(image.height, height)))
    top.quantize(256).save(path, optimize=True)
    print(path, f"{path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
