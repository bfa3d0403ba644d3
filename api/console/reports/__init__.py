"""Monthly reports: what was made and sent, as it would be now, who receives them."""
