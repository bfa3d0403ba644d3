"""Alert rules, pure: no clock, no socket, no database. `now` and what a place is like are arguments."""
