"""Which roles oversee everything, and guards for pages that several roles share."""

from rounds.people.model import NotAllowed, Person, Role

OVERSEERS = (Role.SENIOR, Role.QA, Role.ENGINEER, Role.ADMIN)
STEWARDS = (Role.ENGINEER, Role.ADMIN)
"""Who decides about scans: what is let in, which series of a study is read."""


def oversees(person: Person) -> bool:
    """Tell whether the person may see every label and batch (unless he checks it)."""
    return bool(set(OVERSEERS) & set(person.roles))


def require_any(person: Person, *roles: Role) -> None:
    """Raise NotAllowed unless the person has one of the roles."""
    if not set(roles) & set(person.roles):
        raise NotAllowed(f"this is for the roles {', '.join(roles)}; yours: {', '.join(person.roles)}")
