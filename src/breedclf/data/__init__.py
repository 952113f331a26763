"""From an image folder to tensors: layout, splits, decoding, preprocessing."""
