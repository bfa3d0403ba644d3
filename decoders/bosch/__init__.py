"""Bosch parking sensors."""
