"""Failed log-ins are counted per email within a sliding window."""

import pytest

from rounds.web.attempts import Attempts, TooManyAttempts


def test_the_limit_holds_for_one_email_and_ends_with_the_window() -> None:
    now = [0.0]
    attempts = Attempts(limit=2, window=60.0, clock=lambda: now[0])
    for _ in range(2):
        attempts.admit("a@x.example")
        attempts.fail("A@x.example")
    with pytest.raises(TooManyAttempts):
        attempts.admit("a@X.example")
    attempts.admit("b@x.example")
    now[0] = 59.0
    with pytest.raises(TooManyAttempts):
        attempts.admit("a@x.example")
    now[0] = 61.0
    attempts.admit("a@x.example")
