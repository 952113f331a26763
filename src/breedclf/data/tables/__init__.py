"""Tables of images: read a CSV or Parquet file of paths and labels, find the files, and assign them to splits."""

from breedclf.data.tables.dataset import scan_table, table_to_evaluate
from breedclf.data.tables.images import TableImages, images_of_table
from breedclf.data.tables.places import TablePlace, place_of

__all__ = ["TableImages", "TablePlace", "images_of_table", "place_of", "scan_table", "table_to_evaluate"]
