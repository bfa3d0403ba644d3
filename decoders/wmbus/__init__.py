"""Meters that speak M-Bus over LoRaWAN: transport layer, encryption, records, and what they measure (EN 13757)."""
