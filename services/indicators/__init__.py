"""The process that keeps figures up to date."""
