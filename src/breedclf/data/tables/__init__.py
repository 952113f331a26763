"""Tables of images: read a CSV or Parquet file of paths and labels, find the files, and assign them to splits."""
