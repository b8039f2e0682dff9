"""When to run and at which power. Pure: the clock, the forecast and the progress come in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carbon_trainer.lazy import lazy_names

if TYPE_CHECKING:
    from carbon_trainer.planning.plan import InfeasibleError, Plan, PlanSlot
    from carbon_trainer.planning.planner import Decision, Planner, Progress
    from carbon_trainer.planning.policies import run_now
    from carbon_trainer.planning.problem import (
        Budgets,
        Idle,
        Mode,
        Objective,
        PlanProblem,
        PowerCap,
        PowerSetting,
    )
    from carbon_trainer.planning.solver import solve
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "carbon_trainer.planning.plan": ["InfeasibleError", "Plan", "PlanSlot"],
            "carbon_trainer.planning.planner": ["Decision", "Planner", "Progress"],
            "carbon_trainer.planning.policies": ["run_now"],
            "carbon_trainer.planning.problem": [
                "Budgets",
                "Idle",
                "Mode",
                "Objective",
                "PlanProblem",
                "PowerCap",
                "PowerSetting",
            ],
            "carbon_trainer.planning.solver": ["solve"],
        },
    )

__all__ = [
    "Budgets",
    "Decision",
    "Idle",
    "InfeasibleError",
    "Mode",
    "Objective",
    "Plan",
    "PlanProblem",
    "PlanSlot",
    "Planner",
    "PowerCap",
    "PowerSetting",
    "Progress",
    "run_now",
    "solve",
]
