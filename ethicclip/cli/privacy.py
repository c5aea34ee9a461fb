"""``ethicclip privacy``: plan a private run before any data is read, and keep a joint budget."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ethicclip.cli import options
from ethicclip.cli.console import print_json, print_lines
from ethicclip.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from ethicclip.privacy import PlanSettings

NAME = "privacy"
HELP = "Differential privacy: what a run would cost, and what is left of a joint budget."

app = typer.Typer(name=NAME, help=HELP, no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _group() -> None:
    """Differential privacy: what a run would cost, and what is left of a joint budget."""


@app.command("plan")
def plan_command(
    units: Annotated[
        int | None, typer.Option("--units", help="Patients (or pairs) in the data.", show_default="required")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", help="Expected units a step.", show_default="128")
    ] = None,
    epochs: Annotated[float | None, typer.Option("--epochs", help="Passes over the units.", show_default="16")] = None,
    epsilon: Annotated[
        float | None, typer.Option("--epsilon", help="Target for adding or removing one unit.", show_default="3")
    ] = None,
    delta: options.Delta = None,
    mechanism: options.Mechanism = None,
    unit: options.PrivacyUnit = None,
    max_grad_norm: options.MaxGradNorm = None,
    model: Annotated[
        str | None, typer.Option("--model", help="Measure a step of this model too.", show_default=False)
    ] = None,
    config: options.Config = None,
    set_: options.Set = None,
    json: options.Json = False,
) -> int:
    """Say which noise an (epsilon, delta) takes, how epsilon grows, and what the run would cost; nothing is written."""
    from ethicclip.privacy import PlanSettings, plan
    from ethicclip.settings import resolve

    flags = {
        "units": units,
        "batch_size": batch_size,
        "epochs": epochs,
        "epsilon": epsilon,
        "delta": delta,
        "mechanism": mechanism,
        "unit": unit,
        "max_grad_norm": max_grad_norm,
        "model": model,
    }
    settings = resolve(PlanSettings, verb="privacy-plan", config=config, overrides=set_ or (), flags=flags)
    weights, seconds = (None, None) if settings.model is None else _measured(settings)
    planned = plan(settings, trained_weights=weights, step_seconds=seconds)
    print_json(planned.to_json()) if json else print_lines(*planned.lines())
    return ExitCode.PASS


def _measured(settings: PlanSettings) -> tuple[int, float]:
    from ethicclip.training import PrivateSettings, TrainSettings
    from ethicclip.training.private_cost import step_cost

    private = PrivateSettings(
        epsilon=settings.epsilon,
        mechanism=settings.mechanism,
        max_grad_norm=settings.max_grad_norm,
        text_steps=0,
    )
    cost = step_cost(TrainSettings(model=settings.model or "", batch_size=max(2, settings.batch_size), privacy=private))
    return cost.trained_weights, cost.seconds


@app.command("budget")
def budget_command(
    budget: Annotated[Path, typer.Argument(help="The budget file.")],
    epsilon: Annotated[
        float | None, typer.Option("--epsilon", help="Open the budget with this limit.", show_default=False)
    ] = None,
    delta: options.Delta = None,
    population: Annotated[
        str | None, typer.Option("--population", help="What the patients are called; no path.", show_default=False)
    ] = None,
    unit: options.PrivacyUnit = None,
    json: options.Json = False,
) -> int:
    """Show what generator, training and tuning have spent of the same patients together, or open a budget for them.

    `train --budget FILE` reserves its run there first; what would pass the limit is refused.
    """
    from ethicclip.privacy import Budget, Unit
    from ethicclip.provenance import KeyStore

    kept = Budget(budget, KeyStore.default())
    if epsilon is None:
        if delta is not None or population is not None or unit is not None:
            raise UsageError("--delta, --population and --unit open a budget", next_step="Give --epsilon with them.")
        state = kept.state()
    else:
        if delta is None or population is None:
            raise UsageError("a budget needs a limit and a name", next_step="Give --epsilon, --delta and --population.")
        if unit is not None and unit not in list(Unit):
            raise UsageError(f"--unit {unit!r} is not one of {', '.join(Unit)}")
        state = kept.create(population=population, unit=Unit(unit or Unit.PATIENT), epsilon=epsilon, delta=delta)
    print_json(state.to_json()) if json else print_lines(*state.lines())
    return ExitCode.PASS
