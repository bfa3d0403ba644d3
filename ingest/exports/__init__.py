"""Exports of measurements: asked for over HTTP, written in the background, kept for a day as a finished file."""
