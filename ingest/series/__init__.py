"""Series: buckets of a local calendar of one datastream or of many, from rollups and what is not rolled up yet."""
