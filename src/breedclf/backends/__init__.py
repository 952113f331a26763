"""Where jobs run; each back end is chosen by its name and imported on first use."""
