"""Take the screenshots in docs/images again, from synthetic images: python docs/screenshots.py [journey profiling ...]

Needs chromium, and the development environment.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from pathlib import Path

from PIL import Image

from breedclf import (
    Categorical,
    Continuous,
    Deployment,
    Journey,
    LocalBackend,
    ProfilingSession,
    Trainer,
    TrainingConfig,
    TuningJob,
)
from breedclf.testing.images import write_image_set

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent))

from tests.browser import Browser, browser, find_chromium  # noqa: E402
from tests.console.running import running_console  # noqa: E402

WIDTH_PX = 1000
NETWORK = {"architecture": "resnet18", "weights": "none"}


def main() -> None:
    program = find_chromium()
    if program is None:
        sys.exit("screenshots need chromium")
    wanted = sys.argv[1:] or list(SHOTS)
    for name in wanted:
        with tempfile.TemporaryDirectory() as folder, browser(program) as page, contextlib.chdir(folder):
            SHOTS[name](page)


def journey(page: Browser) -> None:
    """A whole journey, with paths that are relative, as they are in the README's command."""
    data = write_image_set(Path("patterns"), classes=6, train=24, valid=10, test=16)
    space = {
        "learning_rate": Categorical(0.005, 0.0075, 0.01),
        "batch_size": Categorical(32, 64),
        "epochs": Categorical(10, 20),
    }
    config = TrainingConfig(data=data, cache_dir=Path("cache"), **NETWORK)
    result = Journey(config, space=space, output=Path("journey"), store=Path("models"), verify=False).run()
    page.open(result.report.resolve().as_uri(), width=1280)
    save(page, "journey-page.png", height=1410)


def profiling(page: Browser) -> None:
    # A few images and too many epochs at a high rate, so that the report has something to report.
    few = write_image_set(Path("few"), train=5, valid=8, test=0, size_px=256)
    output, cache = Path("synthetic-images"), Path("cache")
    config = TrainingConfig(data=few, epochs=40, learning_rate=0.05, output=output, cache_dir=cache, **NETWORK)
    report = ProfilingSession(config).run().report("report.html")
    page.open(report.resolve().as_uri(), width=WIDTH_PX)
    save(page, "profiling-report.png", height=1370)


def serving(page: Browser) -> None:
    data = write_image_set(Path("images"), train=40, size_px=256)
    config = TrainingConfig(data=data, epochs=20, output=Path("out"), cache_dir=Path("cache"), **NETWORK)
    model = Trainer(config).fit().artifact
    with Deployment(model, backend=LocalBackend(Path("jobs"))).deploy() as endpoint:
        page.open(endpoint.url, width=WIDTH_PX)
        page.choose("#file", next((data / "test").rglob("*.jpg")).resolve())
        page.until("!document.getElementById('result').hidden")
        page.run("document.getElementById('explain').click()")
        page.until("document.getElementById('map').naturalWidth > 0")
        save(page, "serving-page.png", height=1010)


def console(page: Browser) -> None:
    """A search of six trials, a job that runs, and an endpoint that is given an image."""
    data = write_image_set(Path("images"), train=24, valid=20, test=4)
    backend = LocalBackend(Path("home"))
    cache = {"cache_dir": Path("cache"), **NETWORK}
    space = {"learning_rate": Continuous(0.001, 0.05), "batch_size": Categorical(32, 64)}
    config = TrainingConfig(data=data, epochs=8, **cache)
    search = TuningJob(config, space, max_jobs=6, backend=backend, name="dogs-search").run().wait()
    job = Trainer(TrainingConfig(data=data, epochs=5000, **cache), backend=backend).submit(name="dogs")
    with (
        Deployment(search.best.artifact, backend=backend, name="dogs").deploy(),
        running_console(Path.cwd()) as running,
    ):
        try:
            open_live(page, running.page("/jobs/dogs"))
            page.until("document.querySelectorAll('#curves svg').length > 0")
            hide_folder(page)
            save(page, "console-job.png", height=1100)
            open_live(page, running.page("/jobs"))
            hide_folder(page)
            save(page, "console.png", height=700)
            open_live(page, running.page("/searches/dogs-search"))
            hide_folder(page)
            save(page, "console-search.png", height=1300)
            open_live(page, running.page("/endpoints/dogs"))
            page.until("document.body.innerText.includes('Ready:')")
            page.choose("input[type=file]", next((data / "test").rglob("*.jpg")).resolve())
            page.until("!document.getElementById('result').hidden")
            hide_folder(page)
            save(page, "console-endpoint.png", height=1200)
        finally:
            job.stop()
            job.wait()


def open_live(page: Browser, url: str) -> None:
    page.open(url, width=1200)
    page.until("document.getElementById('connection').textContent === 'live'")


def hide_folder(page: Browser) -> None:
    """Show paths of the temporary folder as those of a home folder."""
    page.run(f"""
        const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
        while (texts.nextNode()) {{
            const text = texts.currentNode;
            text.data = text.data.replaceAll({json.dumps(str(Path.cwd()))}, "~/dogs");
        }}
    """)


SHOTS = {"console": console, "journey": journey, "profiling": profiling, "serving": serving}


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
