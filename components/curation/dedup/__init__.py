"""Deduplication: one file per method. The first document of a group, in the order of the sources, is the one kept."""
