"""Cayenne LPP: what many home-made and kit devices speak."""
