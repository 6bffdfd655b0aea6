"""Label Studio's own settings, with an SQLite on which a writer waits for its turn instead of failing.

Read by Label Studio's environment, not by ours. Django opens a transaction as a reader by default; when it then writes
while somebody else has written, SQLite answers "database is locked" at once, whatever the timeout.
"""

from label_studio.core.settings.label_studio import *  # noqa: F403
from label_studio.core.settings.label_studio import DATABASES

DATABASES["default"]["OPTIONS"] = {"timeout": 60, "transaction_mode": "IMMEDIATE"}
