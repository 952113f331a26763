"""Prices, cost estimates and the quotas that requests need."""
