"""What single image formats need beyond Pillow: structure, color, orientation, cost of decoding."""
