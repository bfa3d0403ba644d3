"""The LoRaWAN network server: frames in by shard, authenticated uplinks out, downlink rows worked off."""
