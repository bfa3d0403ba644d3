"""People of a tenant: who they are, what they may, and how they come and go."""
