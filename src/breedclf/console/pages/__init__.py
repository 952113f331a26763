"""One module per kind of page; `PAGES` are in the order of the navigation."""

from __future__ import annotations

from breedclf.console.content import Page
from breedclf.console.pages.job import JobPage
from breedclf.console.pages.jobs import JobsPage
from breedclf.console.pages.journey import JourneyPage
from breedclf.console.pages.journeys import JourneysPage
from breedclf.console.pages.profile import ProfilePage
from breedclf.console.pages.profiles import ProfilesPage

PAGES: tuple[Page, ...] = (JobsPage(), JobPage(), ProfilesPage(), ProfilePage(), JourneysPage(), JourneyPage())
