"""Fixtures that more than one test folder needs: the embedded stack, started once a session."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from rounds.settings import Settings, load_settings
from rounds.stack import down, up


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Start the whole stack in a state folder of its own and stop it at the end.

    With ROUNDS_TEST_HOME the stack in that folder is used, and left running for the next session.
    """
    reused = os.environ.get("ROUNDS_TEST_HOME")
    home = Path(reused) if reused else tmp_path_factory.mktemp("stack") / "home"
    with pytest.MonkeyPatch.context() as environment:
        for name in [
            name for name in os.environ if name.startswith("ROUNDS_") and name != "ROUNDS_LABELSTUDIO_ENV"
        ]:
            environment.delenv(name)
        environment.setenv("ROUNDS_HOME", str(home))
        try:
            up(load_settings())
            yield load_settings()
        finally:
            if not reused:
                down(load_settings())
