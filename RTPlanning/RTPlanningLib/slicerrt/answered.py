"""SlicerRT wants the text of an error, and takes everything else, exceptions too, for success."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable

from DoseEngineLib.errors import PlanningError


def answered(method: Callable[..., None]) -> Callable[..., str]:
    """Make a method answer as SlicerRT wants: an empty text when it is done, else what went wrong and what to do."""

    @functools.wraps(method)
    def answer(*arguments) -> str:
        try:
            method(*arguments)
        except PlanningError as error:
            return str(error) or type(error).__name__
        except Exception as error:
            logging.exception("RTPlanning in SlicerRT: %s failed.", method.__name__)
            return (
                f"RTPlanning came upon something it did not expect ({type(error).__name__}: {error}). Report it with "
                "the error log (View > Error Log), which says where."
            )
        return ""

    return answer
