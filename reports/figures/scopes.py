"""Which scope of the GHG Protocol a run's emissions fall in, as its operator has stated.

Corporate Standard and Scope 3 Standard: electricity for own machines is scope 2; a bought cloud's
is scope 3, category 1; a leased place's is scope 3, category 8. It is stated by the operator and
never guessed; no kWh is in two of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from carbon_trainer.ledger.facts import BoundaryStated

UNSTATED = (
    "Whose machines the run was on is not stated: `carbon-train runs state RUN --operation own`, "
    "cloud or colocation."
)


@dataclass(frozen=True, slots=True)
class Scope:
    """Where a run's emissions go.

    Attributes:
        scope: 2 or 3; None where it is not stated.
        category: of scope 3; None otherwise.
        name: for people.
    """

    scope: int | None
    category: int | None
    name: str


_SCOPES = {
    "own": Scope(2, None, "Scope 2: electricity of own machines"),
    "cloud": Scope(3, 1, "Scope 3, category 1: purchased goods and services (cloud)"),
    "colocation": Scope(3, 8, "Scope 3, category 8: upstream leased assets (colocation)"),
}


def scope_of(boundary: BoundaryStated | None) -> Scope:
    """Return the scope that a stated boundary leads to."""
    missing = Scope(None, None, "not stated")
    return missing if boundary is None else _SCOPES.get(boundary.operation, missing)
