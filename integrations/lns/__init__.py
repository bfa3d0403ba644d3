"""Uplinks and downlinks by way of other network servers, and of devices without LoRa."""
