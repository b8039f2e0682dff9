"""How a run's last process stands, as its record says."""

from __future__ import annotations

from collections.abc import Iterable

from carbon_trainer.ledger.facts import Decision, Resumed, RunClosed, RunOpened
from carbon_trainer.ledger.reader import StoredFact

RECOVERED = "recovered"
"""The decision of a start that has recorded the energy of a process that was killed; also the
phase of that energy."""

STATES = (RunOpened, Resumed, RunClosed, Decision)
"""The kinds of facts that ``last_state`` looks at."""


def last_state(facts: Iterable[StoredFact]) -> StoredFact | None:
    """Return the last fact that says whether a run's process runs, has ended, or was killed.

    Args:
        facts: the run's facts in order, at least those of ``STATES``.

    Returns:
        A ``RunOpened`` or ``Resumed`` where the process may still run, a ``RunClosed``, or the
        ``Decision`` by which its energy was recorded after it had been killed.
    """
    kinds = {kind.kind for kind in STATES}
    return next(
        (
            fact
            for fact in reversed(list(facts))
            if fact.kind in kinds
            and (fact.kind != Decision.kind or fact.body["decision"] == RECOVERED)
        ),
        None,
    )
