"""Label Studio's WSGI application, on an SQLite where a writer waits for its turn instead of failing.

Read by Label Studio's environment, not by ours. Django opens a transaction as a reader by default; when it then writes
while somebody else has written, SQLite answers "database is locked" at once, whatever the timeout.
"""

from django.conf import settings

settings.DATABASES["default"]["OPTIONS"] = {"timeout": 60, "transaction_mode": "IMMEDIATE"}

from label_studio.core.wsgi import application  # noqa: E402

__all__ = ["application"]
