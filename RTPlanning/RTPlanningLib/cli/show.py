"""``rtplanning show``: tell what a saved plan (scene.mrb) holds: beams, dose, structures."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from DoseEngineLib.errors import CaseError
from RTPlanningLib.cli.command_parser import add_command


def add(commands: Any) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "show",
        show,
        "tell what a saved plan (scene.mrb) holds: beams, dose, structures",
        "example:\n  rtplanning show result/scene.mrb",
    )
    parser.add_argument("scene", metavar="SCENE.mrb", type=Path, help="a scene that RTPlanning or 3D Slicer saved")


def show(options: argparse.Namespace) -> None:
    """Tell what a saved plan (scene.mrb) holds: beams, dose, structures."""
    from RTPlanningLib.headless import HeadlessSlicer

    with HeadlessSlicer() as runtime:
        from RTPlanningLib.logic import RTPlanningLogic
        from RTPlanningLib.mrml.plan_summary import planSummary

        logic = RTPlanningLogic(runtime.scene)
        logic.loadScene(options.scene)
        planNodes = logic.planNodes()
        if not planNodes:
            raise CaseError(f"{options.scene} holds no RTPlanning plan; open it in 3D Slicer to see what it holds.")
        for planNode in planNodes:
            print("\n".join(planSummary(planNode)))
