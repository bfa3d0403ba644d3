"""Pepperl+Fuchs WILSEN container sensors."""
