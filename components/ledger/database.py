"""A ledger's database: SQLite in a file by default, any SQLAlchemy URL for a team."""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, inspect, text
from sqlalchemy.orm import Session

HEAD = "0001"
"""The newest revision in migrations/versions; tests/components/ledger checks it."""


class Ledger:
    """Short transactions on one database; every one of them is all or nothing, also under SIGKILL."""

    def __init__(self, url: str) -> None:
        self.url = url
        if url.startswith("sqlite:///"):
            Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        self.engine = create_engine(url)
        if self.engine.dialect.name == "sqlite":
            event.listen(self.engine, "connect", partial(_configure_sqlite, url))
            event.listen(self.engine, "begin", _begin_immediate)
        self.reader = self.engine.execution_options(reads=True)
        self._migrate()

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A session that is committed at the end of the block and rolled back if it raises."""
        with Session(self.engine, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that only reads, and so waits for nobody."""
        with Session(self.reader, expire_on_commit=False) as session, session.begin():
            yield session

    def _migrate(self) -> None:
        if _revision(self.reader) == HEAD:
            return
        with _alone(self.url, "schema"):
            if _revision(self.reader) != HEAD:
                upgrade(self.engine, HEAD)


def now() -> float:
    """Seconds since 1970."""
    return time.time()


def upgrade(engine: Engine, revision: str) -> None:
    """Bring the schema of `engine` to `revision`."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def _revision(engine: Engine) -> str | None:
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _configure_sqlite(url: str, connection: Any, _: Any) -> None:
    connection.isolation_level = None  # SQLAlchemy's begin event says BEGIN, and not the driver at some later write
    for pragma in ("busy_timeout=60000", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").close()
    if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        with _alone(url, "journal"):  # this switch does not wait for others by itself
            connection.execute("PRAGMA journal_mode=WAL").close()


def _begin_immediate(connection: Any) -> None:
    if connection.get_execution_options().get("reads"):
        connection.exec_driver_sql("BEGIN")
        return
    # A deferred transaction that turns from reading to writing fails at once when another writes; this one waits.
    connection.exec_driver_sql("BEGIN IMMEDIATE")


@contextmanager
def _alone(url: str, what: str) -> Iterator[None]:
    """Two processes that open a new ledger at once migrate it one after the other."""
    if not url.startswith("sqlite:///"):
        yield
        return
    with open(url.removeprefix("sqlite:///") + f".{what}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
