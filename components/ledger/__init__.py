"""The ledger: which steps were done, what came out, who decided and what should serve. SQLAlchemy is used only here."""

from components.ledger.database import Ledger

__all__ = ["Ledger"]
