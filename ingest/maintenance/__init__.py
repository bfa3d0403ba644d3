"""The jobs of the maintenance service: rollups, retention, pruning, packing, compression, supervision."""
