"""Fludia optical and pulse readers of electricity and gas meters."""
