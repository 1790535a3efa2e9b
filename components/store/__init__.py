"""The store of artifacts: immutable folders named by the digest of their content."""

from components.store.local import Damage, Store, Stored

__all__ = ["Damage", "Store", "Stored"]
