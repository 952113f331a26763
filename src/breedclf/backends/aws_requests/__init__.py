"""What AWS takes: its services' own models and the documented rules beside them, for those who send and who answer."""
