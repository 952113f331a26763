"""The page about a journey: one HTML file with its story, step by step, and the figures of every step."""
