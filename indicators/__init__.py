"""Figures that people decide by, over rollups and rows: waste, buildings, lighting, network, cost, reports."""
