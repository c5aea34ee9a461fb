from __future__ import annotations

from pathlib import Path

import pytest

from ethicclip.reports import ReportSettings, State, write_report
from ethicclip.reports.mappings import mappings
from ethicclip.reports.rules import RULES
from ethicclip.reports.wording import clean, facts_of, interval, number


def test_every_data_file_is_dated_sourced_and_names_known_rules() -> None:
    ids = set()
    for mapping in mappings():
        assert set(mapping) == {"id", "name", "source", "dated", "mapping_dated", "requirements"}
        assert mapping["id"] not in ids
        ids.add(mapping["id"])
        for entry in mapping["requirements"]:
            assert entry["rule"] in RULES and entry["section"] and entry["text"]
            assert "with" in entry if entry["rule"] == "attack" else True
            assert "because" in entry if entry["rule"] == "person" else True
    folder = Path(__file__).parents[2] / "ethicclip" / "reports" / "frameworks"
    assert {path.stem for path in folder.glob("*.yaml")} == ids


def test_every_rule_is_used_and_says_what_it_looks_at() -> None:
    assert {entry["rule"] for mapping in mappings() for entry in mapping["requirements"]} == set(RULES)
    assert all(rule.__doc__ for rule in RULES.values())


def states(world, out: Path) -> dict[str, State]:
    report = write_report(ReportSettings(formats=("json",)), world.ledger, out, keys=world.keys).report
    return {f"{f.id} {row.section}": row.state for f in report.frameworks for row in f.requirements}


@pytest.mark.parametrize(
    ("verdict", "state"),
    [("PASS", State.EVIDENCED), ("LEAK", State.FAILED), ("INCONCLUSIVE", State.NEEDS_A_PERSON)],
)
def test_the_verdict_decides_the_state(make_world, tmp_path: Path, verdict: str, state: State) -> None:
    found = states(make_world(verdict=verdict), tmp_path / "out")
    assert found["gdpr Recital 26; WP216 section 3 (singling out)"] == state
    assert found["hipaa 164.514(b)(1)(ii)"] == state
    assert found["hipaa 164.514(b)(2)(i)(P)"] == State.NEEDS_A_PERSON
    assert found["edpb-28-2024 Section 3.2 (testing, membership inference)"] == State.NOT_RUN
    assert found["nist SP 800-226 (unit of privacy)"] == State.NOT_RUN
    assert found["nist SP 800-226 (trust model)"] == State.NEEDS_A_PERSON
    assert found["eu-ai-act Article 50(2)"] == State.EVIDENCED
    assert found["gmlp Principle 4"] == State.EVIDENCED


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1500, "1,500"),
        (0.123456, "0.1235"),
        (True, "yes"),
        (None, "none"),
        (1e6, "1,000,000"),
        ("x", "x"),
    ],
)
def test_numbers_as_people_write_them(value, text: str) -> None:
    assert number(value) == text


def test_estimates_are_never_bare_when_more_is_known() -> None:
    assert interval(0.5, 0.4, 0.6, 30, "patients") == "0.5 [0.4, 0.6] (n = 30 patients)"
    assert interval(-0.0056721, 0.00012345, 0.01) == "-0.0057 [0.00012, 0.01]"
    assert interval(None) == "could not be computed"
    nested = {"share": {"estimate": 0.5, "low": 0.4, "high": 0.6, "n": 30}, "far": {"a": 1}, "many": list(range(20))}
    assert facts_of(nested) == [("Share", "0.5 [0.4, 0.6] (n = 30)"), ("Far: a", "1"), ("Many", "20 entries")]


def test_hidden_characters_are_shown_and_long_text_is_cut() -> None:
    assert clean("a\u202eb\x00c\nd") == "a\\u202eb\\x00c\nd"
    assert clean("眼底 é") == "眼底 é"
    assert clean("x" * 700) == "x" * 600 + "... (700 characters)"


def scanned(letter: str, state: str = "scanned", found: int = 0) -> dict[str, object]:
    return {"letter": letter, "identifier": f"Kind {letter}", "state": state, "how": "its form", "found": found}


@pytest.mark.parametrize(
    ("rows", "state", "said"),
    [
        ([], State.NOT_RUN, "No scan"),
        ([scanned("A"), scanned("O")], State.EVIDENCED, "nothing found: A, O."),
        ([scanned("A"), scanned("B", "needs a person")], State.NEEDS_A_PERSON, "Open: Kind B (B): needs a person."),
        ([scanned("A", found=2), scanned("B", "needs a person")], State.FAILED, "Kind A (A): 2."),
        # Letters of other requirements do not count here.
        ([scanned("R", found=2)], State.NOT_RUN, "No scan"),
    ],
)
def test_identifiers_are_read_from_the_table_of_the_audit(make_world, tmp_path, rows, state, said) -> None:
    world = make_world(verdict="PASS", text={"verdict": "PASS", "safe_harbor": rows})
    report = write_report(
        ReportSettings(formats=("html", "pdf")), world.ledger, tmp_path / "out", keys=world.keys
    ).report
    found = {f"{f.id} {row.section}": row for f in report.frameworks for row in f.requirements}
    row = found["hipaa 164.514(b)(2)(i)(A) to (O)"]
    assert row.state == state
    assert said in row.evidence
    assert [entry.letter for entry in report.captions.identifiers] == [entry["letter"] for entry in rows]
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert all(f"({entry['letter']}) Kind {entry['letter']}" in page for entry in rows)
    assert "18 entries" not in page
