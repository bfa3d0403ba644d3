"""The process that makes rollups and forgets what is old."""
