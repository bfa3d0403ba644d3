"""What tenants let each other see, and what goes from one to another."""
