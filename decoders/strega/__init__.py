"""Strega valves."""
