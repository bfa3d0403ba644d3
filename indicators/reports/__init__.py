"""Monthly reports of a commune: figures beside those of last month and last year, kept as they were sent."""
