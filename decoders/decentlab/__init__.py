"""Decentlab devices: one frame format, and a table of sensors for each."""
