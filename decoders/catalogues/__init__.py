"""Readers of the public catalogues of devices, as files that the user has; they read no file themselves."""
