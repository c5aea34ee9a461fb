"""The published schema is the statement's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ethicclip.privacy import Unit
from ethicclip.privacy.statement import json_schema, scope_of

PUBLISHED = Path(__file__).parents[2] / "docs" / "schemas" / "privacy.schema.json"


def test_published_schema_is_current():
    assert json.loads(PUBLISHED.read_text()) == json_schema()


@pytest.mark.parametrize(
    ("origins", "covers", "said"),
    [
        (["real"], True, "patients in the real pairs"),
        (["real", "synthetic"], True, "only if its generator was private"),
        (["mixed"], True, "only if its generator was private"),
        (["synthetic"], False, "not any patient"),
    ],
)
def test_whose_epsilon(origins, covers, said):
    scope = scope_of(origins, Unit.PATIENT)
    assert scope.covers_patients is covers
    assert said in scope.whose
