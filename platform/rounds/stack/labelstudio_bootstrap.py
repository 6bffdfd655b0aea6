"""Run by Label Studio's own python: migrate its database, make the admin and the organisation, issue tokens.

`--state-folder` reads one JSON object on stdin (`email`, `password`, `token_days`) and writes one as the last line of
stdout (`token`). `--blank` only makes the empty migrated database that later state folders start from, as `make setup`
does. In a container of its own, without arguments, it migrates the database that the environment names and sees to the
admin; `token DAYS` prints a token and nothing else on stdout.
Imports nothing of Rounds, as that is not installed there; Label Studio's modules are found at run time.
"""

import importlib
import json
import os
import shutil
import sqlite3
import sys
import tempfile
from contextlib import redirect_stdout
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any


def main(arguments: list[str]) -> None:
    """Bring the database to where gunicorn can serve it, in the way that the arguments name."""
    match arguments:
        case ["--blank"]:
            _make_blank()
        case ["--state-folder"]:
            _serve_state_folder(json.load(sys.stdin))
        case ["token", days]:
            print(_token(_known_admin(), int(days)))
        case []:
            _known_admin(migrate=True)
        case _:
            sys.exit("give nothing, token DAYS, --state-folder or --blank")


def _serve_state_folder(wanted: dict[str, Any]) -> None:
    database = _prepare_database()
    with sqlite3.connect(database) as connection:
        connection.execute("PRAGMA journal_mode=wal")
    admin = _admin(wanted["email"], wanted["password"])
    print(json.dumps({"token": _token(admin, wanted["token_days"])}))


def _known_admin(*, migrate: bool = False) -> Any:
    """Return the admin that the environment names, made where missing; what Django prints goes to stderr."""
    with redirect_stdout(sys.stderr):
        _load_django()
        if migrate:
            _migrate(verbosity=1)
        return _admin(os.environ["LABELSTUDIO_ADMIN_EMAIL"], os.environ["LABELSTUDIO_ADMIN_PASSWORD"])


def _make_blank() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LABEL_STUDIO_BASE_DATA_DIR"] = folder
        os.environ["DJANGO_SETTINGS_MODULE"] = "label_studio.core.settings.label_studio"
        os.environ["DJANGO_DB"] = "sqlite"
        os.environ |= {"SENTRY_DSN": "", "COLLECT_ANALYTICS": "false", "LATEST_VERSION_CHECK": "false"}
        _prepare_database()


def _prepare_database() -> Path:
    database = Path(os.environ["LABEL_STUDIO_BASE_DATA_DIR"]) / "label_studio.sqlite3"
    blank = Path(sys.prefix) / "share" / "rounds" / f"label_studio-{version('label-studio')}.sqlite3"
    fresh = not database.exists()
    database.parent.mkdir(parents=True, exist_ok=True)
    if fresh and os.access(blank, os.R_OK):
        shutil.copyfile(blank, database.with_suffix(".partial"))
        database.with_suffix(".partial").replace(database)
    _load_django()
    _migrate(verbosity=0)
    if fresh and not blank.exists():
        _keep_blank(database, blank)
    return database


def _load_django() -> None:
    label_studio = importlib.import_module("label_studio")
    sys.path.insert(0, str(Path(str(label_studio.__file__)).parent))
    importlib.import_module("django").setup()


def _migrate(verbosity: int) -> None:
    management = importlib.import_module("django.core.management")
    management.call_command("migrate", verbosity=verbosity, interactive=False)


def _keep_blank(database: Path, blank: Path) -> None:
    """Keep the migrated, still empty database beside Label Studio: 261 migrations cost half a minute."""
    try:
        blank.parent.mkdir(parents=True, exist_ok=True)
        partial = blank.with_name(f"{blank.name}.{os.getpid()}")
        with sqlite3.connect(database) as connection:
            connection.execute("VACUUM INTO ?", (str(partial),))
        partial.chmod(0o644)  # nobody's data yet, and other users may share the installation
        partial.replace(blank)
    except (OSError, sqlite3.Error) as error:
        print(f"the next new state folder will migrate again: {error}", file=sys.stderr)


def _admin(email: str, password: str) -> Any:
    users = importlib.import_module("users.models").User
    organizations = importlib.import_module("organizations.models").Organization
    user = users.objects.filter(email=email).first()
    if user is None:
        user = users.objects.create_user(email=email, password=password)
    user.is_staff = user.is_superuser = True
    if not user.check_password(password):
        user.set_password(password)
    organization = organizations.objects.first() or organizations.create_organization(
        created_by=user, title="Rounds", legacy_api_tokens_enabled=False
    )
    organization.add_user(user)
    organization.jwt.api_tokens_enabled = True
    organization.jwt.legacy_api_tokens_enabled = False
    organization.jwt.save()
    user.active_organization = organization
    user.save()
    return user


def _token(user: Any, days: int) -> str:
    kind = importlib.import_module("jwt_auth.models").LSAPIToken
    dated = type("DatedToken", (kind,), {"lifetime": timedelta(days=days)})
    return str(dated.for_user(user).get_full_jwt())  # type: ignore[attr-defined]


if __name__ == "__main__":
    main(sys.argv[1:])
