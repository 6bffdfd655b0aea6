"""Run by Label Studio's own python in its container: migrate, make administrator and organisation, issue tokens.

Without arguments it migrates and sees to the administrator; `token DAYS` prints a personal access token and nothing
else on stdout. Imports nothing of Rounds; Label Studio's modules are found at run time.
"""

import importlib
import os
import sys
from contextlib import redirect_stdout
from datetime import timedelta
from pathlib import Path
from typing import Any


def main(arguments: list[str]) -> None:
    """Do what the arguments say, to the database named in the environment."""
    with redirect_stdout(sys.stderr):
        _load_django()
        if not arguments:
            importlib.import_module("django.core.management").call_command("migrate", interactive=False)
        admin = _administrator(
            os.environ["LABELSTUDIO_ADMIN_EMAIL"], os.environ["LABELSTUDIO_ADMIN_PASSWORD"]
        )
    if arguments[:1] == ["token"]:
        print(_token(admin, int(arguments[1])))


def _load_django() -> None:
    label_studio = importlib.import_module("label_studio")
    sys.path.insert(0, str(Path(str(label_studio.__file__)).parent))
    importlib.import_module("django").setup()


def _administrator(email: str, password: str) -> Any:
    users = importlib.import_module("users.models").User
    organizations = importlib.import_module("organizations.models").Organization
    user = users.objects.filter(email=email).first() or users.objects.create_user(
        email=email, password=password
    )
    if not user.check_password(password):
        user.set_password(password)
    user.is_staff = user.is_superuser = True
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
    lasting = type("LastingToken", (kind,), {"lifetime": timedelta(days=days)})
    return str(lasting.for_user(user).get_full_jwt())  # type: ignore[attr-defined]


if __name__ == "__main__":
    main(sys.argv[1:])
