"""Enless Wireless transmitters."""
