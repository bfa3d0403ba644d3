"""Public lighting, by commune and month."""
