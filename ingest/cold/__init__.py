"""Readings whose chunk was dropped, as Parquet files in a folder of the operator's, which only exports read."""
