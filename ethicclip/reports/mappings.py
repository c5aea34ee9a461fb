"""Frameworks as dated data files, filled by `ethicclip.reports.rules`: law can change without code."""

from __future__ import annotations

from importlib import resources
from typing import Any

import yaml

from ethicclip.reports.document import Framework, Requirement
from ethicclip.reports.evidence import Evidence
from ethicclip.reports.rules import RULES
from ethicclip.reports.wording import clean

_ORDER = ("gdpr", "edpb-28-2024", "hipaa", "eu-ai-act", "gmlp", "reporting", "nist", "iso-42001")


def mappings() -> list[dict[str, Any]]:
    """All data files, in the order in which the report shows them."""
    folder = resources.files("ethicclip.reports") / "frameworks"
    return [yaml.safe_load((folder / f"{name}.yaml").read_text(encoding="utf-8")) for name in _ORDER]


def fill(evidence: Evidence) -> tuple[Framework, ...]:
    """Every framework with the state of each requirement."""
    return tuple(_filled(evidence, mapping) for mapping in mappings())


def _filled(evidence: Evidence, mapping: dict[str, Any]) -> Framework:
    rows = []
    for entry in mapping["requirements"]:
        answer = RULES[entry["rule"]](evidence, entry)
        rows.append(
            Requirement(
                section=entry["section"],
                text=entry["text"],
                state=answer.state,
                evidence=clean(answer.text),
                refs=answer.refs,
            )
        )
    return Framework(
        id=mapping["id"],
        name=mapping["name"],
        source=mapping["source"],
        dated=str(mapping["dated"]),
        mapping_dated=str(mapping["mapping_dated"]),
        requirements=tuple(rows),
    )
