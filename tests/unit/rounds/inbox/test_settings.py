"""Settings of receiving: what is left out, what cannot be meant, and what wins."""

import pytest

from rounds.inbox.settings import BadReceiving, load_receiving


def test_nothing_and_none_leave_a_setting_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROUNDS_RECEIVE_ARCHIVE", "none")
    monkeypatch.setenv("ROUNDS_RECEIVE_CERTIFICATE", "")
    found = load_receiving()
    assert (found.archive, found.certificate) == (None, None)


def test_options_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROUNDS_RECEIVE_PORT", "104")
    monkeypatch.setenv("ROUNDS_RECEIVE_SENDERS", '{"CT1": "north", "CT2": "north"}')
    found = load_receiving(port=11113, senders={"CT1": "south", "CT2": "north"})
    assert (found.port, found.senders) == (11113, {"CT1": "south", "CT2": "north"})


@pytest.mark.parametrize(
    ("name", "text"),
    [("SENDERS", "CT1=north"), ("SENDERS", '{"CT1": 3}'), ("PORT", "99999"), ("QUIET_SECONDS", "-1")],
)
def test_what_cannot_be_meant_is_told_in_one_line_with_the_name_of_the_setting(
    name: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"ROUNDS_RECEIVE_{name}", text)
    with pytest.raises(BadReceiving, match=f"^ROUNDS_RECEIVE_{name}[ :]") as caught:
        load_receiving()
    assert "\n" not in str(caught.value)
