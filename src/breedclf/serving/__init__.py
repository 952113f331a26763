"""A model behind HTTP: the pure core that turns bytes into ranked breeds, and thin adapters around it."""
