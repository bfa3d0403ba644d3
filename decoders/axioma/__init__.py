"""Axioma: ultrasonic water meters."""
