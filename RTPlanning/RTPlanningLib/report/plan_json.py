"""A plan as a file that a person and a program can read."""

from __future__ import annotations

import json

from DoseEngineLib.plan import Plan, plan_to_dict


def plan_json(plan: Plan) -> str:
    """Return a plan as indented JSON text; equal plans give equal texts."""
    return json.dumps(plan_to_dict(plan), indent=1, sort_keys=True, allow_nan=False) + "\n"
