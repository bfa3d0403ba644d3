"""Keys of applications."""
