"""The process that answers HTTP: the API and its reference page."""
