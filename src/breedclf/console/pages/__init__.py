"""One module per kind of page; `PAGES` are in the order of the navigation."""

from __future__ import annotations

from breedclf.console.content import Page
from breedclf.console.pages.data import DataPage
from breedclf.console.pages.dataset import DatasetPage
from breedclf.console.pages.endpoint import EndpointPage
from breedclf.console.pages.endpoints import EndpointsPage
from breedclf.console.pages.job import JobPage
from breedclf.console.pages.job_log import JobLogPage
from breedclf.console.pages.jobs import JobsPage
from breedclf.console.pages.journey import JourneyPage
from breedclf.console.pages.journeys import JourneysPage
from breedclf.console.pages.model import ModelPage
from breedclf.console.pages.models import ModelsPage
from breedclf.console.pages.profile import ProfilePage
from breedclf.console.pages.profiles import ProfilesPage
from breedclf.console.pages.search import SearchPage
from breedclf.console.pages.searches import SearchesPage
from breedclf.console.pages.version import VersionPage

PAGES: tuple[Page, ...] = (
    JobsPage(),
    JobPage(),
    JobLogPage(),
    SearchesPage(),
    SearchPage(),
    ProfilesPage(),
    ProfilePage(),
    EndpointsPage(),
    EndpointPage(),
    ModelsPage(),
    VersionPage(),
    ModelPage(),
    DataPage(),
    DatasetPage(),
    JourneysPage(),
    JourneyPage(),
)
