"""The published parameters that come with the package, each with its source and what it was checked against."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from DoseEngineLib.errors import EvaluationError, SchemaError
from RTPlanningLib.radiobiology.ntcp import LogisticNtcp, LymanKutcherBurman, NtcpModel, RelativeSeriality
from RTPlanningLib.radiobiology.tcp import LogisticTcp, PoissonTcp, TcpModel
from RTPlanningLib.radiobiology.uncertainty import Estimate
from RTPlanningLib.structure_names import OrganNames, load_organs

PARAMETERS_SCHEMA_VERSION = 1
_FILE = "parameters.json"


@dataclass(frozen=True)
class TissueNames:
    """A tissue of the parameter table and the names its structure may have.

    Attributes
    ----------
    organ : OrganNames
        Its entry in the table of structure names.
    alpha_beta_Gy : float
        What converts this tissue's dose when a parameter set has no value of its own.
    alpha_beta_source : str
    """

    organ: OrganNames
    alpha_beta_Gy: float
    alpha_beta_source: str

    @property
    def id(self) -> str:
        """Identifier, the organ's."""
        return self.organ.id

    @property
    def title(self) -> str:
        """In words, the organ's."""
        return self.organ.title


@dataclass(frozen=True)
class AlphaBeta:
    """A published alpha/beta.

    Attributes
    ----------
    what : str
    kind : {"tumour", "late", "early"}
    alpha_beta_Gy : Estimate
    source : str
    checked : str or None
    """

    what: str
    kind: str
    alpha_beta_Gy: Estimate
    source: str
    checked: str | None


@dataclass(frozen=True)
class NtcpParameters:
    """The parameters of one complication.

    Attributes
    ----------
    id, tissue, endpoint : str
    model : {"LKB", "logistic", "relative seriality"}
    estimates : mapping of parameter name to Estimate
    dose : {"physical", "EQD2"}
        What the model takes: the dose as it is, given in fractions of ``fraction_Gy``, or EQD2.
    fraction_Gy : (float, float)
        Range of the prescribed doses a fraction that the parameters come from.
    alpha_beta_Gy : float
    source : str
    checked : str or None
        What the values were compared with; None is a set from memory.
    default : bool
        Whether it is taken for a structure of its tissue when none is chosen.
    note : str
    """

    id: str
    tissue: str
    endpoint: str
    model: str
    estimates: Mapping[str, Estimate]
    dose: str
    fraction_Gy: tuple[float, float]
    alpha_beta_Gy: float
    source: str
    checked: str | None
    default: bool
    note: str
    fixed: Mapping[str, Any]

    def build(self, **parameters: float) -> NtcpModel:
        """Return the model with these parameters; without any, with the published values."""
        values = {name: estimate.value for name, estimate in self.estimates.items()} | parameters
        return _ntcp_builder(self.model)(**values, **self.fixed)


@dataclass(frozen=True)
class TcpParameters:
    """The parameters of the control of one kind of tumour; attributes as in `NtcpParameters`."""

    id: str
    what: str
    endpoint: str
    model: str
    estimates: Mapping[str, Estimate]
    fraction_Gy: tuple[float, float]
    source: str
    checked: str | None
    note: str

    def build(self, **parameters: float) -> TcpModel:
        """Return the model with these parameters; without any, with the published values."""
        values = {name: estimate.value for name, estimate in self.estimates.items()} | parameters
        return {"Poisson": PoissonTcp, "logistic": LogisticTcp}[self.model](**values)


@dataclass(frozen=True)
class RadiobiologyParameters:
    """The whole table."""

    tissues: Mapping[str, TissueNames]
    alpha_beta: tuple[AlphaBeta, ...]
    ntcp: Mapping[str, NtcpParameters]
    tcp: Mapping[str, TcpParameters]

    def ntcp_set(self, identifier: str) -> NtcpParameters:
        """Return a set by its identifier; raise `EvaluationError`, naming those there are, for an unknown one."""
        if identifier not in self.ntcp:
            raise EvaluationError(f"There is no NTCP set {identifier!r}; there are: {', '.join(self.ntcp)}.")
        return self.ntcp[identifier]

    def tcp_set(self, identifier: str) -> TcpParameters:
        """Return a set by its identifier; raise `EvaluationError`, naming those there are, for an unknown one."""
        if identifier not in self.tcp:
            raise EvaluationError(f"There is no TCP set {identifier!r}; there are: {', '.join(self.tcp)}.")
        return self.tcp[identifier]

    def default_ntcp(self, tissue: str) -> tuple[NtcpParameters, ...]:
        """Return the sets taken for a tissue when none is chosen."""
        return tuple(entry for entry in self.ntcp.values() if entry.tissue == tissue and entry.default)


@cache
def load_parameters() -> RadiobiologyParameters:
    """Return the parameters that come with the package."""
    text = resources.files(__package__).joinpath(_FILE).read_text(encoding="utf-8")
    return parse_parameters(json.loads(text))


def parse_parameters(table: Mapping[str, Any]) -> RadiobiologyParameters:
    """Read a table in the form of the package's own.

    Raises
    ------
    SchemaError
        An unknown schema version, a missing key, a source that is not listed, or a default that was not checked.
    """
    version = table.get("schema_version")
    if version != PARAMETERS_SCHEMA_VERSION:
        raise SchemaError(
            f"The radiobiology parameters have schema version {version!r}; this program reads "
            f"{PARAMETERS_SCHEMA_VERSION}. Update the program or the table."
        )
    try:
        return _parsed(table)
    except KeyError as error:
        raise SchemaError(f"The radiobiology parameters lack {error.args[0]!r}; complete the table.") from error


def _parsed(table: Mapping[str, Any]) -> RadiobiologyParameters:
    sources = table["sources"]

    def source(entry: Mapping[str, Any], key: str = "source") -> str:
        if entry[key] not in sources:
            raise SchemaError(f"Source {entry[key]!r} of the radiobiology parameters is not in their list of sources.")
        return sources[entry[key]]

    tissues = {}
    organs = load_organs()
    for entry in table["tissues"]:
        if entry["id"] not in organs:
            raise SchemaError(
                f"Tissue {entry['id']!r} of the radiobiology parameters is not in the table of structure names; add it."
            )
        organ = organs[entry["id"]]
        tissues[organ.id] = TissueNames(
            organ,
            entry["alpha_beta_Gy"],
            source(entry, "alpha_beta_source"),
        )
    ntcp = {}
    for entry in table["ntcp"]:
        if entry["tissue"] not in tissues:
            raise SchemaError(f"NTCP set {entry['id']}: tissue {entry['tissue']!r} is not in the table.")
        if entry["default"] and not entry["checked"]:
            raise SchemaError(f"NTCP set {entry['id']} is a default but was not checked; check it or choose another.")
        fixed = {key: entry[key] for key in ("form", "a") if key in entry}
        if fixed.get("a") == "max":
            fixed["a"] = math.inf
        alpha_beta = entry["alpha_beta_Gy"]
        parameters = NtcpParameters(
            entry["id"],
            entry["tissue"],
            entry["endpoint"],
            entry["model"],
            {name: _estimate(value) for name, value in entry["parameters"].items()},
            entry["dose"],
            tuple(entry["fraction_Gy"]),
            tissues[entry["tissue"]].alpha_beta_Gy if alpha_beta is None else alpha_beta,
            source(entry),
            entry["checked"],
            entry["default"],
            entry["note"],
            fixed,
        )
        parameters.build()
        ntcp[parameters.id] = parameters
    tcp = {}
    for entry in table["tcp"]:
        parameters = TcpParameters(
            entry["id"],
            entry["what"],
            entry["endpoint"],
            entry["model"],
            {name: _estimate(value) for name, value in entry["parameters"].items()},
            tuple(entry["fraction_Gy"]),
            source(entry),
            entry["checked"],
            entry["note"],
        )
        parameters.build()
        tcp[parameters.id] = parameters
    alpha_beta = tuple(
        AlphaBeta(entry["what"], entry["kind"], _estimate(entry["alpha_beta_Gy"]), source(entry), entry["checked"])
        for entry in table["alpha_beta"]
    )
    return RadiobiologyParameters(tissues, alpha_beta, ntcp, tcp)


def _estimate(entry: Mapping[str, Any]) -> Estimate:
    low, high = entry.get("limits", (None, None))
    return Estimate(entry["value"], low, high, float(entry.get("confidence_percent", 95)))


def _ntcp_builder(model: str) -> Callable[..., NtcpModel]:
    builders = {"LKB": LymanKutcherBurman, "logistic": LogisticNtcp, "relative seriality": RelativeSeriality}
    if model not in builders:
        raise SchemaError(f"There is no NTCP model {model!r}; use one of {', '.join(builders)}.")
    return builders[model]
