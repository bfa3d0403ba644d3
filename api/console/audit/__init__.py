"""What was done, by whom, and what it changed."""
