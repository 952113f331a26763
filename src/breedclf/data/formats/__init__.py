"""What Pillow doesn't cover for single formats: structure, color, orientation, cost of decoding."""
