"""Packages as sources: data and models that registries hold, fetched by name and unpacked without running anything."""
