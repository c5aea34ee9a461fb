"""The set described in Croissant 1.0 (with its responsible-AI terms), so that data catalogues can read it."""

from __future__ import annotations

from typing import Any

_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "key": "cr:key",
    "md5": "cr:md5",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}

_FIELDS = {"key": "sc:Text", "shard": "sc:Text", "offset": "sc:Integer", "size": "sc:Integer", "caption": "sc:Text"}
_MASK_FIELDS = {"masks_offset": "sc:Integer", "masks_size": "sc:Integer"}


def croissant(manifest: dict[str, Any]) -> dict[str, Any]:
    """The JSON-LD document for a finished manifest; every file stands with its sha256."""
    shards = [
        {
            "@type": "cr:FileObject",
            "@id": entry["file"],
            "name": entry["file"],
            "contentUrl": entry["file"],
            "contentSize": f"{entry['size_bytes']} B",
            "encodingFormat": "application/x-tar",
            "sha256": entry["sha256"],
        }
        for entry in manifest["shards"]
    ]
    index_file = {
        "@type": "cr:FileObject",
        "@id": "index",
        "name": "index.parquet",
        "contentUrl": manifest["index"]["file"],
        "encodingFormat": "application/vnd.apache.parquet",
        "sha256": manifest["index"]["sha256"],
    }
    fields = [
        {
            "@type": "cr:Field",
            "@id": f"pairs/{name}",
            "name": name,
            "dataType": kind,
            "source": {"fileObject": {"@id": "index"}, "extract": {"column": name}},
        }
        for name, kind in (_FIELDS | (_MASK_FIELDS if "masks" in manifest else {})).items()
    ]
    masks = f" {manifest['masks']}" if "masks" in manifest else ""
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": ["http://mlcommons.org/croissant/1.0", "http://mlcommons.org/croissant/RAI/1.0"],
        "name": manifest["name"],
        "description": f"{manifest['counts']['pairs']} fundus image-text pairs of {manifest['origin']} origin.{masks}",
        "license": manifest["licence"],
        "version": "1.0.0",
        "rai:dataCollection": f"Origin: {manifest['origin']}. Marking: {manifest['marking']}",
        "rai:dataLimitations": list(manifest["notes"]),
        "distribution": [index_file, *shards],
        "recordSet": [{"@type": "cr:RecordSet", "@id": "pairs", "name": "pairs", "field": fields}],
    }
