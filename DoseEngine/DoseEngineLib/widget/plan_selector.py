"""Selectors that offer plans alone."""

from __future__ import annotations

from typing import Any

# What makes a scripted module node a plan; lets a node selector show plans alone.
_PLAN_ATTRIBUTE = ("vtkMRMLScriptedModuleNode", "RTPlanning.NodeType", "Plan")


def showOnlyPlans(selector: Any) -> None:
    """Let a node selector offer plan nodes alone."""
    selector.addAttribute(*_PLAN_ATTRIBUTE)
