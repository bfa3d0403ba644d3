"""Hostile input, thousands of messages of each kind, from a seed: what a public port is sent sooner or later."""
