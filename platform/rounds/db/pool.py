"""Connections to PostgreSQL; transactions belong to whoever opens them (`with conn.transaction()`)."""

import psycopg
from psycopg.rows import DictRow, dict_row
from psycopg_pool import ConnectionPool

from rounds.settings import Settings

Connection = psycopg.Connection[DictRow]
Pool = ConnectionPool[Connection]


def connect(settings: Settings) -> Connection:
    """Open one autocommit connection whose rows are dicts; the caller closes it (`with`)."""
    return psycopg.connect(settings.require("database_url"), autocommit=True, row_factory=dict_row)


def open_pool(settings: Settings, size: int = 8) -> Pool:
    """Open a pool of such connections for the service."""
    return ConnectionPool(
        settings.require("database_url"),
        connection_class=psycopg.Connection[DictRow],
        kwargs={"autocommit": True, "row_factory": dict_row},
        min_size=1,
        max_size=size,
        open=True,
    )
