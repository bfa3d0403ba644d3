"""Uplinks of other people's LNS, and of devices without LoRa, as our own (DESIGN 2)."""
