"""Regional parameters: one frozen `Region` for each plan that is spoken here."""

from lorawan.regions.eu868 import EU868
from lorawan.regions.region import REQUIRED_SNR, Channel, DataRate, Fsk, Lora, Region, SubBand

REGIONS = {EU868.name: EU868}

__all__ = ["EU868", "REGIONS", "REQUIRED_SNR", "Channel", "DataRate", "Fsk", "Lora", "Region", "SubBand"]
