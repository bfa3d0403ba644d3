"""VEGA radar level sensors."""
