"""The reason that a person gives for a change, as the trail keeps it: a few words on one line."""

MAX_REASON = 500


class ReasonMissing(Exception):
    """No reason was given, or one that is too long."""


def worded(why: str) -> str:
    """Return a reason on one line; raise ReasonMissing."""
    text = " ".join(why.split())
    if not text:
        raise ReasonMissing("say why, in a few words: the trail keeps it")
    if len(text) > MAX_REASON:
        raise ReasonMissing(f"the reason is longer than {MAX_REASON} characters: say it shorter")
    return text
