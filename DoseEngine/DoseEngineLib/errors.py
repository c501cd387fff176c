"""The errors of the whole house: one base class, one subclass a subject.

Every message says what was wrong and what to do about it.
"""


class PlanningError(Exception):
    """Base of every error a user can cause and mend."""


class GeometryError(PlanningError):
    """A grid, affine, angle or patient position that cannot be used."""


class PatientError(PlanningError):
    """A CT, density, calibration curve, body outline or structure that cannot be used."""


class PlanError(PlanningError):
    """A plan, beam, aperture or prescription that contradicts itself or the patient."""


class MachineError(PlanningError):
    """A machine file that is missing, malformed or lacks what a request needs."""


class EngineError(PlanningError):
    """A dose request that an engine cannot serve."""


class EngineUnavailableError(EngineError):
    """An engine label that is unknown, or known but not usable here (the text says why)."""


class CaseError(PlanningError):
    """A case (DICOM folder, volume file, segmentation, sample name) that cannot be read safely."""


class EvaluationError(PlanningError):
    """A metric, goal or dose comparison that cannot be evaluated."""


class PlanFileError(PlanningError):
    """A plan file that cannot be read; the text names file, table and key."""


class SchemaError(PlanningError):
    """Stored data of an unknown or newer schema; nothing was changed."""


class Cancelled(PlanningError):
    """Raised out of a progress callback to stop long work; nothing is left half-written."""
