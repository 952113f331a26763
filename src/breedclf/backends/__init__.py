"""Where jobs run; each backend is selected by name and imported on first use."""
