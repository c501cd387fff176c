"""Cases, evaluation, display, reports and workflow of treatment planning."""

import DoseEngineLib
from DoseEngineLib.kernel_cache import drop_stale_kernels

drop_stale_kernels(__path__[0], DoseEngineLib.__path__[0])
