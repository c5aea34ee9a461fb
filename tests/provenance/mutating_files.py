"""Tampering with recorded files, and with a sealed report and its manifest."""

from __future__ import annotations

import json
import shutil

from ethicclip.files import canonical_json, sha256_file
from ethicclip.provenance import KeyStore
from tests.provenance.house import House
from tests.provenance.tampering import Done, Random, changed_bytes, other_value

_FILES = {
    "pairs/manifest.json": "pair_set pairs/manifest.json",
    "pairs/shards/000000.tar": "pair_set file pairs/shards/000000.tar",
    "pairs/shards/000001.tar": "pair_set file pairs/shards/000001.tar",
    "pairs/index.parquet": "pair_set file pairs/index.parquet",
    "audit/verdict.json": "verdict audit/verdict.json",
    "audit/flagged.csv": "flagged audit/flagged.csv",
    "run/model.safetensors": "model run/model.safetensors",
    "run/run.json": "training_run run/run.json",
    "evaluation/metrics.json": "metrics evaluation/metrics.json",
    "evaluation/roc.svg": "figure evaluation/roc.svg",
}


def change_artifact(house: House, rng: Random) -> Done:
    """Change or remove a recorded file."""
    name = str(rng.choice(list(_FILES)))
    kind = str(rng.choice(["flip", "delete", "insert", "reorder", "truncate", "replace"]))
    place, record = house.folder / name, _FILES[name]
    if kind == "delete":
        place.unlink()
        listed = record.startswith("pair_set file")
        return Done(kind, "artifact", house.ledger, record if listed else f"absent: {record}", noted=not listed)
    place.write_bytes(changed_bytes(place.read_bytes(), kind, rng))
    return Done(kind, "artifact", house.ledger, record)


def change_report(house: House, rng: Random) -> Done:
    """Change or remove a file of a sealed report."""
    name = str(rng.choice(["report.html", "report.json", "report.pdf"]))
    kind = str(rng.choice(["flip", "delete", "insert", "reorder", "truncate", "replace"]))
    place = house.report / name
    if kind == "delete":
        place.unlink()
    else:
        place.write_bytes(changed_bytes(place.read_bytes(), kind, rng))
    return Done(kind, "report", house.report, name)


def change_manifest(house: House, rng: Random) -> Done:
    """One field of a sealed folder's manifest."""
    place = house.report / "manifest.json"
    values = json.loads(place.read_text())
    name = str(rng.choice(["time", "facts", "ledger", "ledger_head", "public_key", "signature", "files", "signers"]))
    if name == "files":
        kind = str(rng.choice(["flip", "delete", "reorder"]))
        entries = values["files"]
        if kind == "flip":
            entries[0]["sha256"] = other_value(entries[0]["sha256"], "VARCHAR", rng)
        elif kind == "delete":
            del entries[int(rng.integers(len(entries)))]
        else:
            entries.reverse()
    elif name == "facts":
        values["facts"]["audience"] = "restricted"
        kind = "flip"
    elif name == "ledger_head":
        values["ledger_head"]["seq"] += 1
        kind = "flip"
    elif name == "signers":
        values["signers"] = []
        kind = "delete"
    else:
        values[name] = other_value(values[name], "VARCHAR", rng)
        kind = "flip"
    place.write_text(json.dumps(values))
    return Done(kind, "manifest", house.report, "manifest.json")


def reseal(house: House, rng: Random) -> Done:
    """Edit a report and seal it anew with a key of one's own."""
    thief = KeyStore(house.folder.parent / f"thief-{int(rng.integers(1 << 40)):x}")
    page = house.report / "report.html"
    page.write_text(page.read_text().replace("PASS", "FINE", 1))
    place = house.report / "manifest.json"
    values = {k: v for k, v in json.loads(place.read_text()).items() if k != "signature"}
    for entry in values["files"]:
        if entry["path"] == "report.html":
            entry["sha256"] = sha256_file(page)
    values["public_key"] = thief.public_key()
    values["signature"] = thief.sign(b"ethicclip/manifest/1\n" + canonical_json(values))
    place.write_text(json.dumps(values))
    name = thief.public_key()
    shutil.rmtree(thief.folder)
    return Done("re-sign", "report", house.report, f"key {name}")
