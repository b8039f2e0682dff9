"""What is remembered: append-only, hash-chained facts of every run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carbon_trainer.lazy import lazy_names

if TYPE_CHECKING:
    from carbon_trainer.ledger import facts, schema
    from carbon_trainer.ledger.reader import StoredFact as StoredFact
    from carbon_trainer.ledger.store import Ledger as Ledger
    from carbon_trainer.ledger.verify import Verification
    from carbon_trainer.ledger.verify import verify as verify_run
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "carbon_trainer.ledger": ["facts", "schema"],
            "carbon_trainer.ledger.reader": ["StoredFact"],
            "carbon_trainer.ledger.store": ["Ledger"],
            "carbon_trainer.ledger.verify": ["Verification", "verify as verify_run"],
        },
    )

__all__ = ["Ledger", "StoredFact", "Verification", "facts", "schema", "verify_run"]
