"""W3C PROV-JSON: artifacts as entities, runs as activities, the software and the signer as agents.

Shards stand as members of their pair set, each with its hash, so that a single shard can be traced.
"""

from __future__ import annotations

from typing import Any

from ethicclip.exports.scope import Scope, digest_of, name_of, shards_of

_PREFIXES = {"ethicclip": "urn:ethicclip:", "run": "urn:ethicclip:run:", "content": "urn:ethicclip:content:"}


def prov_json(scope: Scope) -> dict[str, Any]:
    """The PROV-JSON document of a scope."""
    entities = {_entity(record.id): _described(record) for record in scope.artifacts.values()}
    activities: dict[str, Any] = {}
    agents: dict[str, Any] = {}
    relations: dict[str, dict[str, Any]] = {
        name: {} for name in ("used", "wasGeneratedBy", "wasAssociatedWith", "hadMember")
    }

    def relate(kind: str, **values: str) -> None:
        relations[kind][f"_:{kind}{len(relations[kind]) + 1}"] = {
            f"prov:{name}": value for name, value in values.items()
        }

    for run in scope.runs:
        activity = f"run:{run.run_id}"
        activities[activity] = {
            "prov:startTime": run.started,
            **({"prov:endTime": run.ended} if run.ended else {}),
            "prov:type": _text(f"ethicclip {run.verb}"),
            "ethicclip:status": _text(run.status),
            **({"ethicclip:verdict": _text(run.verdict)} if run.verdict else {}),
            "ethicclip:settings_sha256": _text(run.settings_sha256),
        }
        software = f"ethicclip:release-{run.version}"
        agents[software] = {"prov:type": {"$": "prov:SoftwareAgent", "type": "prov:QUALIFIED_NAME"}}
        relate("wasAssociatedWith", activity=activity, agent=software)
        for record in scope.of(run, "used"):
            relate("used", activity=activity, entity=_entity(record.id))
        for record in scope.of(run, "generated"):
            relate("wasGeneratedBy", entity=_entity(record.id), activity=activity)
    for record in scope.artifacts.values():
        for file, digest in shards_of(scope.snapshot, record):
            shard = _entity(f"sha256:{digest}")
            entities[shard] = {"prov:label": _text(file), "ethicclip:kind": _text("shard")}
            relate("hadMember", collection=_entity(record.id), entity=shard)
    if scope.snapshot.heads:
        head = scope.snapshot.heads[-1]
        agents[f"ethicclip:signer-{head.public_key}"] = {"ethicclip:signed_head": _text(head.hash)}
    found = {"prefix": _PREFIXES, "entity": entities, "activity": activities, "agent": agents, **relations}
    return {name: values for name, values in found.items() if values}


def _described(record: Any) -> dict[str, Any]:
    (algorithm, digest), *_ = digest_of(record).items()
    return {
        "prov:label": _text(name_of(record)),
        "ethicclip:kind": _text(record.kind),
        "ethicclip:origin": _text(record.origin),
        f"ethicclip:{algorithm}": _text(digest),
    }


def _entity(id_: str) -> str:
    return f"content:{id_.replace(':', '-')}"


def _text(value: str) -> dict[str, str]:
    return {"$": value, "type": "xsd:string"}
