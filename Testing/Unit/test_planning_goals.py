"""Objective rows: reading, writing back, errors with their place, and what rows become."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from DoseEngineLib.clinical_goals import Goal
from DoseEngineLib.dose_metrics import Metric
from DoseEngineLib.dvh import Dvh
from DoseEngineLib.errors import EvaluationError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.influence import BixelBeam, DoseInfluence
from DoseEngineLib.plan import Structure
from OptimizerLib import constraints as c
from OptimizerLib import objectives as o
from OptimizerLib.aims import Dose, Extreme, Falloff, FluenceAim, UniformDose
from OptimizerLib.errors import OptimizationError
from OptimizerLib.objective_rows import ObjectiveRow, parse_row
from OptimizerLib.planning_goals import PlanningGoals
from OptimizerLib.problem import Problem
from OptimizerLib.row_terms import RowContext, make_term
from OptimizerLib.solvers import DEFAULT_SOLVER, BoundedLBFGS, create_solver

LIST = """
objectives = [
    "PTV D95% >= 60 Gy, weight 100",
    "Cord Max < 45 Gy, constraint",
    "Lung Mean <= 20 Gy, level 2, weight 5",
    "Body falloff 60 Gy -> 20 Gy in 30 mm from PTV, weight 10",
    "PTV uniform 60 Gy, weight 1000",
    "Parotid gEUD(a=1) <= 26 Gy",
    { aim = "Parotid Mean <= 1.2 Gy", per = "fraction", level = 3, weight = 2 },
    { aim = "PTV D98% >= 95 %", constraint = true },
    "fluence total variation, weight 0.01",
    "minimize Lung Mean, level 4",
]
"""


def case() -> dict[str, Structure]:
    grid = Grid.from_spacing((10, 10, 10), 10.0, (-45.0, -45.0, -45.0))
    points = grid.centres_RAS_mm()
    masks = {
        "PTV": np.linalg.norm(points, axis=-1) < 22.0,
        "Body": np.ones(grid.shape, bool),
        "Cord": (points[..., 1] < -30.0) & (abs(points[..., 0]) < 10.0),
        "Lung": points[..., 0] > 10.0,
        "Parotid": points[..., 0] < -30.0,
    }
    return {name: Structure(name, mask, grid) for name, mask in masks.items()}


def context(**more) -> RowContext:
    structures = case()

    def points(name: str) -> np.ndarray:
        return structures[name].grid.centres_RAS_mm()[structures[name].mask]

    beam = BixelBeam("A", 0, 0, 0, (0, 0, 0), "generic_6mv", 5.0, np.array([-2.5, 2.5]), np.array([2.5, 2.5]))
    return RowContext(
        structures, **({"prescription_Gy": 60.0, "fractions": 30, "beams": (beam,)} | more), points_RAS_mm=points
    )


def test_a_list_of_rows_becomes_terms_level_by_level():
    goals = PlanningGoals.from_toml(LIST, "plan.toml")
    assert goals.structures == ("PTV", "Cord", "Lung", "Body", "Parotid")
    assert goals.levels == (1, 2, 3, 4)
    terms = goals.make(context())
    assert terms.objectives[1][0] == o.MinDVH("PTV", 60.0, 100.0, volume_percent=95.0)
    assert isinstance(terms.objectives[1][1], o.DoseFalloff)
    assert terms.objectives[1][2:] == (
        o.SquaredDeviation("PTV", 60.0, 1000.0),
        o.EUDOverdose("Parotid", 26.0, 1.0, a=1.0),
    )
    assert terms.objectives[2] == (o.EUDOverdose("Lung", 20.0, 5.0),)
    assert terms.objectives[3] == (o.EUDOverdose("Parotid", 36.0, 2.0),)
    assert terms.objectives[4] == (o.MeanDose("Lung"),)
    assert terms.constraints == (c.MaxDose("Cord", 45.0), c.MinTailMean("PTV", 57.0, 98.0))
    (term,) = terms.fluence_terms
    assert isinstance(term, o.FluenceTotalVariation)
    assert term.weight == 0.01
    assert len(terms.all_objectives) == 7


CORD_CM3, LUNG_CM3 = 40.0, 400.0


@pytest.mark.parametrize(
    ("text", "term"),
    [
        ("Cord Max <= 45 Gy, weight 3", o.SquaredOverdose("Cord", 45.0, 3.0)),
        ("PTV Min >= 5700 cGy", o.SquaredUnderdose("PTV", 57.0)),
        ("PTV Min >= 95 %", o.SquaredUnderdose("PTV", 57.0)),
        ("PTV Mean >= 60 Gy", o.EUDUnderdose("PTV", 60.0)),
        ("PTV gEUD(a=-10) >= 59 Gy", o.EUDUnderdose("PTV", 59.0, a=-10.0)),
        ("Cord gEUD(a=12) < 40 Gy", o.EUDOverdose("Cord", 40.0, a=12.0)),
        ("Lung V20Gy < 30 %", o.MaxDVH("Lung", 20.0, volume_percent=30.0)),
        ("Lung V20Gy < 30 % (35 %)", o.MaxDVH("Lung", 20.0, volume_percent=30.0)),
        ("Lung V20Gy[cc] < 40 cc", o.MaxDVH("Lung", 20.0, volume_percent=100.0 * 40.0 / LUNG_CM3)),
        ("Lung CV20Gy >= 300 cc", o.MaxDVH("Lung", 20.0, volume_percent=100.0 * (1 - 300.0 / LUNG_CM3))),
        ("PTV CV57Gy <= 5 %", o.MinDVH("PTV", 57.0, volume_percent=95.0)),
        ("PTV V95% >= 98 %", o.MinDVH("PTV", 57.0, volume_percent=98.0)),
        ("PTV Coverage >= 95 %", o.MinDVH("PTV", 60.0, volume_percent=95.0)),
        ("PTV D2% <= 107 %", o.MaxDVH("PTV", 64.2, volume_percent=2.0)),
        ("Cord D2cc <= 40 Gy", o.MaxDVH("Cord", 40.0, volume_percent=100.0 * 2.0 / CORD_CM3)),
        ("PTV DC5% >= 58 Gy", o.MinDVH("PTV", 58.0, volume_percent=95.0)),
        ("Lung V0.5Gy < 30 %, per fraction", o.MaxDVH("Lung", 15.0, volume_percent=30.0)),
        ("PTV uniform 2 Gy, per fraction", o.SquaredDeviation("PTV", 60.0)),
        ("PTV uniform 100 %, per fraction", o.SquaredDeviation("PTV", 60.0)),
        ("minimise Cord Max, weight 4", o.MaximumDose("Cord", 4.0)),
        ("maximize PTV Min", o.MinimumDose("PTV")),
        ("minimize Parotid gEUD(a=4)", o.EquivalentUniformDose("Parotid", 4.0)),
        ("maximize PTV gEUD(a=-8)", o.EquivalentUniformDose("PTV", -8.0)),
        ("PTV Min >= 57 Gy, constraint", c.MinDose("PTV", 57.0)),
        ("Lung Mean <= 20 Gy, hard constraint", c.MaxMean("Lung", 20.0)),
        ("PTV Mean >= 60 Gy, constraint", c.MinMean("PTV", 60.0)),
        ("Cord gEUD(a=12) < 40 Gy, constraint", c.MaxEUD("Cord", 40.0, a=12.0)),
        ("PTV gEUD(a=-9) >= 58 Gy, constraint", c.MinEUD("PTV", 58.0, a=-9.0)),
        ("Lung V20Gy < 30 %, constraint", c.MaxTailMean("Lung", 20.0, 30.0)),
        ("PTV D100% >= 57 Gy, constraint", c.MinDose("PTV", 57.0)),
        ("Cord V45Gy <= 0 %, constraint", c.MaxDose("Cord", 45.0)),
    ],
)
def test_what_rows_become(text, term):
    assert {n: case()[n].volume_cm3 for n in ("Cord", "Lung")} == pytest.approx({"Cord": CORD_CM3, "Lung": LUNG_CM3})
    made = make_term(parse_row(text), context())
    assert type(made) is type(term)
    for name in ("structure", "dose_Gy", "weight", "a", "volume_percent"):
        if hasattr(term, name):
            assert getattr(made, name) == pytest.approx(getattr(term, name)), name


def test_a_falloff_row_has_levels_for_its_voxels():
    made = make_term(parse_row("Body falloff 100 % -> 10 Gy in 3 cm from PTV, exponential, weight 2"), context())
    assert made.levels_Gy.shape == (1000,)
    assert made.weight == 2.0
    assert np.isinf(made.levels_Gy).sum() == case()["PTV"].mask.sum()
    outside = made.levels_Gy[np.isfinite(made.levels_Gy)]
    assert 10.0 < outside.min() < outside.max() < 60.0


def test_sampled_tissue_keeps_its_volume():
    volumes = np.linspace(1.0, 4.0, 400)
    made = make_term(parse_row("Lung Mean <= 20 Gy"), context(voxel_weights=lambda name: volumes))
    dose = np.linspace(0.0, 70.0, 400)
    excess = np.average(dose, weights=volumes) - 20.0
    assert made.value(dose) == pytest.approx(excess**2)


@pytest.mark.parametrize(
    ("text", "position", "what"),
    [
        ("PTV D95% >= 60 Gy, wieght 5", 19, "'wieght 5' is not an option"),
        ("PTV D95% >= 60 Gy, weight", 19, "'weight' is not an option"),
        ("PTV D95% >= 60 Gy, weight 5 kg", 19, "'weight 5 kg' is not an option"),
        ("PTV D95% >= 60 Gy, weight 5, weight 6", 36, "given twice"),
        ("PTV D95% >= 60 Gy, constraint, weight 5", 39, "has no weight"),
        ("PTV D95% >= 60 Gy,", 18, "'' is not an option"),
        ("PTV D95% >= 60 Gy, linear", 19, "shape of a fall-off"),
        ("PTV D95% >= 60", 14, "the unit is missing"),
        ("PTV D95 >= 60 Gy", 4, "'D95' is not a metric"),
        ("PTV is fine", 11, "nothing to aim at"),
        ("", 0, "nothing to aim at"),
        ("PTV uniform 60", 0, "PTV uniform 60 Gy"),
        ("Body falloff 60 Gy to 20 Gy from PTV", 0, "Body falloff 60 Gy -> 20 Gy in 30 mm from PTV"),
        ("Body falloff 20 Gy -> 60 Gy in 30 mm from PTV", 0, "from a higher to a lower"),
        ("PTV uniform 60 Gy, constraint", 17, "only a goal with a limit"),
        ("minimize Lung V20Gy", 0, "is not offered"),
        ("minimize Lung", 0, "minimize Lung Mean"),
        ("maximize Lung Mean", 0, "is not offered"),
        ("minimize Lung Mean, per fraction", 18, "no dose that could be per fraction"),
        ("fluence roughness", 0, "fluence smoothness"),
        ("fluence smoothness, level 2", 18, "every level"),
        ("PTV D95% >= 60 Gy, level 0", 17, "whole number from 1"),
    ],
)
def test_bad_rows_show_where_and_what_is_meant(text, position, what):
    with pytest.raises(OptimizationError) as error:
        parse_row(text)
    message = str(error.value)
    assert what in message
    assert "Example: " in message
    lines = message.splitlines()
    assert lines[0] == f"  {text}"[: len(lines[0])]
    assert lines[1].index("^") == 2 + position


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("Heart Mean <= 20 Gy", "there is no structure 'Heart'; choose one of: PTV, Body"),
        ("Body falloff 60 Gy -> 20 Gy in 30 mm from GTV", "no structure 'GTV'"),
        ("PTV CI(Paddick) >= 0.8", "no objective for CI(Paddick)"),
        ("PTV HI <= 0.1, constraint", "no objective for HI"),
        ("PTV Max >= 60 Gy", "did you mean Min"),
        ("PTV Min <= 60 Gy, constraint", "did you mean Max"),
        ("Cord D500cc <= 40 Gy", "has 40 cc"),
        ("Lung V20Gy < 100 %, constraint", "nothing to keep"),
        ("PTV D0% >= 60 Gy, constraint", "nothing to keep"),
        ("PTV gEUD(a=4) >= 60 Gy", "non-convex"),
    ],
)
def test_rows_that_cannot_be_made_say_why(text, what):
    with pytest.raises(OptimizationError) as error:
        make_term(parse_row(text), context())
    assert what in str(error.value)


def test_rows_need_what_they_refer_to():
    bare = RowContext(case())
    with pytest.raises(EvaluationError, match="no prescription"):
        make_term(parse_row("PTV D95% >= 95 %"), bare)
    with pytest.raises(OptimizationError, match="voxels of a dose influence"):
        make_term(parse_row("Body falloff 60 Gy -> 20 Gy in 30 mm from PTV"), bare)
    with pytest.raises(OptimizationError, match="there are no bixels"):
        make_term(parse_row("fluence smoothness"), bare)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('objectives = ["PTV uniform 60 Gy", "PTV is fine"]', "plan.toml: objectives, entry 2:"),
        ('objectives = ["PTV uniform 60 Gy", 3]', "entry 2:\nAn objective is a text or a table; got 3"),
        ('objectives = [{ aim = "PTV uniform 60 Gy", wight = 3 }]', "'wight' is not a key"),
        ("objectives = [{ weight = 3 }]", 'The key "aim" is missing'),
        ('objectives = [{ aim = "PTV uniform 60 Gy", weight = "much" }]', "\"weight\" cannot be 'much'"),
        ('objectives = [{ aim = "PTV uniform 60 Gy", level = true }]', '"level" cannot be True'),
        (
            'objectives = [{ aim = "PTV uniform 60 Gy, weight 2", weight = 3 }]',
            '"weight" is said in the aim and by its key',
        ),
        ('objectives = [{ aim = "PTV uniform 60 Gy", per = "week" }]', "per course or per fraction"),
        ('objectives = "PTV uniform 60 Gy"', "must be a list"),
        ("goals = []", 'no list "objectives"'),
        ("objectives = [", "this is no TOML"),
    ],
)
def test_bad_lists_say_where(text, what):
    with pytest.raises(OptimizationError) as error:
        PlanningGoals.from_toml(text, "plan.toml")
    assert str(error.value).startswith("plan.toml")
    assert what in str(error.value)


def test_files_are_read_by_their_kind(tmp_path):
    goals = PlanningGoals.from_toml(LIST)
    for name, text in (("a.toml", goals.to_toml()), ("a.json", goals.to_json())):
        (tmp_path / name).write_text(text, encoding="utf-8")
        assert PlanningGoals.load(tmp_path / name) == goals
    assert PlanningGoals.from_json('["PTV uniform 60 Gy"]').to_entries() == ["PTV uniform 60 Gy"]
    with pytest.raises(OptimizationError, match=r"\.toml and \.json"):
        PlanningGoals.load(tmp_path / "a.txt")
    with pytest.raises(OptimizationError, match="cannot be read"):
        PlanningGoals.load(tmp_path / "none.toml")
    with pytest.raises(OptimizationError, match="this is no JSON"):
        PlanningGoals.from_json("{")


words = st.text(st.characters(categories=("L", "N"), include_characters="_-+~()"), min_size=1, max_size=8)
names = st.lists(words, min_size=1, max_size=3).map(" ".join)
doses = st.builds(Dose, st.floats(0.0, 1e5).map(abs), st.sampled_from(["Gy", "cGy", "%"]))
numbers = st.floats(0.0, 1e6).map(abs)
goals = st.one_of(
    st.builds(
        Goal,
        names,
        st.sampled_from([Metric("Mean"), Metric("Max"), Metric("D", 2.0, "cc"), Metric("gEUD", -8.5)]),
        st.sampled_from([">=", "<=", ">", "<"]),
        numbers,
        st.sampled_from(["Gy", "cGy", "%"]),
    ),
    st.builds(
        Goal, names, st.just(Metric("V", 20.0, "Gy", "cc")), st.sampled_from(["<=", "<"]), numbers, st.just("cc")
    ),
)
falloffs = st.builds(
    Falloff,
    names,
    st.floats(50.0, 80.0).map(Dose),
    st.floats(0.0, 49.0).map(abs).map(Dose),
    st.floats(0.1, 500.0),
    names,
    st.sampled_from(["linear", "exponential"]),
)
extremes = st.one_of(
    st.builds(
        Extreme, st.just("minimize"), names, st.sampled_from([Metric("Mean"), Metric("Max"), Metric("gEUD", 3.0)])
    ),
    st.builds(Extreme, st.just("maximize"), names, st.sampled_from([Metric("Min"), Metric("gEUD", -3.0)])),
)
rows = st.one_of(
    st.builds(
        ObjectiveRow,
        st.one_of(goals, st.builds(UniformDose, names, doses), falloffs),
        numbers,
        st.integers(1, 50),
        st.just(False),
        st.sampled_from(["course", "fraction"]),
    ),
    st.builds(ObjectiveRow, goals, constraint=st.just(True), per=st.sampled_from(["course", "fraction"])),
    st.builds(ObjectiveRow, extremes, numbers, st.integers(1, 9)),
    st.builds(ObjectiveRow, st.sampled_from(["smoothness", "total variation"]).map(FluenceAim), numbers),
)


@given(rows)
def test_row_round_trip(row):
    assert parse_row(str(row)) == row


@given(st.lists(rows, max_size=5))
def test_list_round_trip(several):
    written = PlanningGoals(tuple(several))
    assert PlanningGoals.from_toml(written.to_toml()) == written
    assert PlanningGoals.from_json(written.to_json()) == written


@given(st.text(max_size=40))
def test_any_text_reads_or_is_refused_with_an_example(text):
    try:
        row = parse_row(text)
    except OptimizationError as error:
        assert "Example: " in str(error)  # noqa: PT017  (either outcome is right, but never another exception)
    else:
        assert parse_row(str(row)) == row


def test_rows_optimize_a_dose_influence_to_their_goals():
    structures = case()
    grid = structures["Body"].grid
    rng = np.random.default_rng(11)
    centres = rng.uniform(-30.0, 30.0, (40, 3))
    # normal tissue sampled: every second voxel outside the target counts twice
    kept = structures["PTV"].mask.ravel() | (np.arange(grid.size) % 2 == 0)
    voxels = np.flatnonzero(kept)
    volumes = np.where(structures["PTV"].mask.ravel()[voxels], 1.0, 2.0)
    points = grid.centres_RAS_mm().reshape(-1, 3)[voxels]
    spread = np.exp(-np.sum((points[:, None] - centres) ** 2, axis=-1) / (2.0 * 14.0**2))
    beam = BixelBeam("A", 0, 0, 0, (0, 0, 0), "generic_6mv", 5.0, 5.0 * np.arange(40) + 2.5, np.full(40, 2.5))
    influence = DoseInfluence(sparse.csc_array(spread.astype(np.float32)), voxels, grid, (beam,), 30, volumes)
    goals = PlanningGoals.from_entries(
        [
            "PTV uniform 60 Gy, weight 50",
            "PTV D95% >= 95 %, weight 50",
            "Body falloff 60 Gy -> 5 Gy in 40 mm from PTV",
            "Parotid Mean <= 0.2 Gy, per fraction, weight 200",
            "fluence smoothness, weight 1e-6",
        ]
    )
    context = RowContext.of_influence(influence, list(structures.values()), 60.0)
    assert context.voxel_weights("PTV") is None
    assert set(context.voxel_weights("Body")) == {1.0, 2.0}
    assert context.points_RAS_mm("Cord") == pytest.approx(points[influence.rows_of(structures["Cord"])])
    terms = goals.make(context)
    problem = Problem(
        influence.matrix.toarray(),
        {name: influence.rows_of(structures[name]) for name in goals.structures},
        terms.all_objectives,
        terms.constraints,
        terms.fluence_terms,
        scale=influence.fractions,
    )
    solution = BoundedLBFGS(max_iterations=200).solve(problem, np.full(problem.variables, 0.1))
    dose = problem.dose_Gy(solution.weights)
    target, parotid = (dose[influence.rows_of(structures[name])] for name in ("PTV", "Parotid"))
    assert np.percentile(target, 5.0) > 56.5
    assert parotid.mean() < 6.1
    assert solution.value < 0.02 * problem.value_and_gradient(np.full(problem.variables, 0.1))[0]


@pytest.mark.parametrize(
    "row",
    [
        "Cord Max <= 12 Gy",
        "Lung Mean <= 9 Gy",
        "Cord D2cc <= 14 Gy",
        "Lung V20Gy <= 15 %",
        "Parotid gEUD(a=4) <= 7 Gy",
        "PTV gEUD(a=-10) >= 59.3 Gy",
        "PTV Mean >= 60.5 Gy",
        "PTV D90% >= 59 Gy",
    ],
)
def test_a_constraint_row_is_kept_where_the_free_plan_breaks_it(row):
    structures = case()
    grid = structures["Body"].grid
    centres = np.random.default_rng(11).uniform(-30.0, 30.0, (40, 3))
    spread = np.exp(-np.sum((grid.centres_RAS_mm().reshape(-1, 1, 3) - centres) ** 2, axis=-1) / (2.0 * 14.0**2))
    rows = {name: np.flatnonzero(structure.mask) for name, structure in structures.items()}

    def achieved(*constraints: str) -> float:
        entries = ["PTV uniform 60 Gy", "Body Max <= 30 Gy, weight 0.2", *constraints]
        terms = PlanningGoals.from_entries(entries).make(context())
        problem = Problem(spread, rows, terms.all_objectives, terms.constraints, scale=30.0)
        dose = problem.dose_Gy(create_solver(DEFAULT_SOLVER).solve(problem, np.full(40, 0.1)).weights)
        goal = parse_row(row).aim
        samples = dose[rows[goal.structure]]
        return goal.metric.evaluate(Dvh(goal.structure, structures[goal.structure].volume_cm3, samples))[0]

    goal = parse_row(row).aim
    sign = 1.0 if goal.wants_more else -1.0
    assert sign * (goal.limit - achieved()) > 0.01
    assert sign * (goal.limit - achieved(f"{row}, constraint")) < 1e-3
