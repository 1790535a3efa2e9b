"""Existing models as a start: taken from a folder once, checked, and kept as an export like any other."""
