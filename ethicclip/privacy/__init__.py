"""Differential privacy: mechanisms, two accountants that must agree, calibration, account, joint budget, statement.

Accounting needs no torch of its own, so that generators can use it; `clipping` and `per_unit` do.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ethicclip.privacy.account import Account as Account
    from ethicclip.privacy.account import Terms as Terms
    from ethicclip.privacy.accountant import Epsilon as Epsilon
    from ethicclip.privacy.accountant import epsilon_of as epsilon_of
    from ethicclip.privacy.accountant import replace_one as replace_one
    from ethicclip.privacy.budget import Budget as Budget
    from ethicclip.privacy.budget import BudgetState as BudgetState
    from ethicclip.privacy.calibration import noise_for as noise_for
    from ethicclip.privacy.calibration import steps_within as steps_within
    from ethicclip.privacy.mechanisms import GeneratorMechanism as GeneratorMechanism
    from ethicclip.privacy.mechanisms import Mechanism as Mechanism
    from ethicclip.privacy.mechanisms import Purpose as Purpose
    from ethicclip.privacy.mechanisms import SampledGaussian as SampledGaussian
    from ethicclip.privacy.mechanisms import Unit as Unit
    from ethicclip.privacy.planning import PlanSettings as PlanSettings
    from ethicclip.privacy.planning import PrivacyPlan as PrivacyPlan
    from ethicclip.privacy.planning import plan as plan
    from ethicclip.privacy.statement import PrivacyStatement as PrivacyStatement

_HOMES = {
    "Account": "account",
    "Budget": "budget",
    "BudgetState": "budget",
    "Epsilon": "accountant",
    "GeneratorMechanism": "mechanisms",
    "Mechanism": "mechanisms",
    "PlanSettings": "planning",
    "PrivacyPlan": "planning",
    "PrivacyStatement": "statement",
    "Purpose": "mechanisms",
    "SampledGaussian": "mechanisms",
    "Terms": "account",
    "Unit": "mechanisms",
    "epsilon_of": "accountant",
    "noise_for": "calibration",
    "plan": "planning",
    "replace_one": "accountant",
    "steps_within": "calibration",
}

__all__ = [
    "Account",
    "Budget",
    "BudgetState",
    "Epsilon",
    "GeneratorMechanism",
    "Mechanism",
    "PlanSettings",
    "PrivacyPlan",
    "PrivacyStatement",
    "Purpose",
    "SampledGaussian",
    "Terms",
    "Unit",
    "epsilon_of",
    "noise_for",
    "plan",
    "replace_one",
    "steps_within",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"ethicclip.privacy.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
