"""Published image datasets: downloaded, unpacked and arranged into class folders. No torch."""

from breedclf.downloads.catalogue import PUBLISHED, Archive, Published
from breedclf.downloads.get import Fetched, get

__all__ = ["PUBLISHED", "Archive", "Fetched", "Published", "get"]
