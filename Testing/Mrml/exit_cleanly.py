"""Run by a test in a process of its own: walks the whole road and ends without closing anything."""

import sys
from pathlib import Path

import numpy as np

from DoseEngineLib.engine import register_engine
from DoseEngineLib.geometry import Grid
from DoseEngineLib.plan import Beam, Plan, Prescription, Structure
from RTPlanningLib.case import Case
from RTPlanningLib.headless import start
from RTPlanningLib.logic import RTPlanningLogic

grid = Grid.from_spacing((20, 20, 20), 5.0, (-47.5, -47.5, -47.5))
hu = np.full(grid.shape, -1000, np.int16)
hu[2:18, 2:18, 2:18] = 0
mask = np.zeros(grid.shape, bool)
mask[8:12, 8:12, 8:12] = True
case = Case("Cube", hu, grid, (Structure("PTV", mask, grid, "PTV"),))
register_engine("test-sphere", "Sphere (test)", "sphere_engine", "SphereEngine")
logic = RTPlanningLogic(start())
volumeNode, segmentationNode = logic.loadCase(case)
plan = Plan(
    "Cube",
    (Beam.open_field(isocenter_RAS_mm=(0, 0, 0)),),
    Prescription(2.0, normalization="none"),
    engine="test-sphere",
)
planNode = logic.createPlan(plan, volumeNode, segmentationNode, ["PTV D95% >= 1 Gy"])
doseNode = logic.calculateDose(planNode)
logic.calculateDvh(planNode)
logic.evaluateGoals(planNode)
logic.createIsodoses(doseNode, levels_Gy=(20.0, 40.0))
logic.createBeamModels(planNode)
scene_file = Path(sys.argv[1]) / "scene.mrb"
logic.saveScene(scene_file)
logic.loadScene(scene_file)
print("done")
