"""PostgreSQL: a pool and numbered migrations."""

from rounds.db.pool import Connection, Pool, connect, open_pool

__all__ = ["Connection", "Pool", "connect", "open_pool"]
