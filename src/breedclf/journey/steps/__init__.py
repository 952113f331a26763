"""The steps of a journey, in their order: one module per step."""
