"""What stands beside an audit's verdict: aggregates of the literature with their control values, policy and history."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ethicclip.reports.reading_json import fields, items
from ethicclip.reports.wording import interval, number


def beside_facts(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name and text of each, in the verdict's order; an aggregate that did not run says why."""
    found = [_aggregate(row) for row in items(content, "aggregates") if isinstance(row, dict)]
    history = fields(content, "history")
    if history:
        found.append(("Audits of this set in the ledger", number(history.get("of_this_set"))))
        found.append(("Audits against this reference", number(history.get("against_this_reference"))))
    policy = fields(fields(content, "gate"), "policy")
    if policy:
        found.append(
            ("Policy", f"{policy.get('name')}: {policy.get('state')} (sha256 {str(policy.get('sha256'))[:16]})")
        )
        found += [_rule(row) for row in items(policy, "rules") if isinstance(row, dict)]
    return found


def _aggregate(row: Mapping[str, Any]) -> tuple[str, str]:
    name = str(row.get("name", ""))
    title = name[:1].upper() + name[1:]
    if row.get("estimate") is None:
        return title, str(row.get("note", "not run"))
    text = interval(row["estimate"], row.get("low"), row.get("high"), row.get("n"), str(row.get("unit", "")))
    control = row.get("control")
    return title, text if control is None else f"{text}; control value {interval(control)}"


def _rule(row: Mapping[str, Any]) -> tuple[str, str]:
    bound = (
        f"at most {number(row['maximum'])}"
        if row.get("maximum") is not None
        else f"at least {number(row.get('minimum'))}"
    )
    note = f"; {row['note']}" if row.get("note") else ""
    text = f"{row.get('judgement')}: {row.get('statistic')} {bound}, it is {number(row.get('value'))}{note}"
    return f"Policy rule on {row.get('metric')}", text
