"""Teneo filling degree sensors."""
