"""The review of labels: images whose label is probably wrong, near duplicates, and images unlike all others."""
