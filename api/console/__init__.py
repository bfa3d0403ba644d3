"""What people look at: pages over the routes of the API, with the same rights. No SQL here, and no rule."""
