"""JSON documents held to a schema: machines, templates of goals."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from DoseEngineLib.errors import PlanningError


def read_schema_json(
    text: str, where: str, schema: Mapping[str, Any], schema_file: str, newest: int, error: type[PlanningError]
) -> dict[str, Any]:
    """Return what a JSON text holds, when it is of a known version and as its schema says.

    Parameters
    ----------
    text : str
    where : str
        What the text is, for errors: a file's name.
    schema : mapping
        JSON Schema, draft 2020-12.
    schema_file : str
        Name of the schema's file, for errors.
    newest : int
        The newest ``schema_version`` that is read.
    error : type
        Raised where the text is no JSON, is newer, or violates the schema; its text names the place.
    """
    # desktop Slicer may lack it until a panel installs it; such files are read only inside actions
    import jsonschema
    from jsonschema.exceptions import best_match

    try:
        data = json.loads(text, parse_constant=_refuse_constant)
    except ValueError as failure:
        raise error(f"{where} is not JSON: {failure}.") from failure
    version = data.get("schema_version") if isinstance(data, dict) else None
    if isinstance(version, int) and version > newest:
        raise error(f"{where} has schema version {version}, newer than {newest}; update RTPlanning.")
    first = best_match(jsonschema.Draft202012Validator(schema).iter_errors(data))
    if first is not None:
        place = "/".join(str(p) for p in first.absolute_path) or "top level"
        raise error(f"{where}, {place}: {first.message} (see {schema_file}).")
    return data


def _refuse_constant(text: str) -> float:
    raise ValueError(f"{text} is not a number that it may hold")
