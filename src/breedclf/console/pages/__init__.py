"""One module per kind of page; `PAGES` are in the order of the navigation."""

from __future__ import annotations

from breedclf.console.content import Page
from breedclf.console.pages.data import DataPage
from breedclf.console.pages.dataset import DatasetPage
from breedclf.console.pages.job import JobPage
from breedclf.console.pages.jobs import JobsPage
from breedclf.console.pages.model import ModelPage
from breedclf.console.pages.models import ModelsPage
from breedclf.console.pages.version import VersionPage

PAGES: tuple[Page, ...] = (
    JobsPage(),
    JobPage(),
    ModelsPage(),
    ModelPage(),
    VersionPage(),
    DataPage(),
    DatasetPage(),
)
