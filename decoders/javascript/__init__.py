"""Vendors' JavaScript, run in worker processes that may die without harm (codecs.md, section 2)."""
