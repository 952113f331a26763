"""A trained model: its directory, the classifier that loads it, and its predictions."""
