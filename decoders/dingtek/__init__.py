"""Dingtek container sensors."""
