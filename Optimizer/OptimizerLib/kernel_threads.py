"""How many threads a kernel gets: all for much work, one for little. Kernels here give the same bits either way."""

from __future__ import annotations

from numba import get_num_threads, set_num_threads

# fewer numbers than this are not worth waking threads for
SHARED_WORK = 500_000


class KernelThreads:
    """Context in which kernels run with one thread when ``work``, the numbers they touch, is little."""

    def __init__(self, work: int) -> None:
        self._alone = work < SHARED_WORK

    def __enter__(self) -> None:
        self._before = get_num_threads()
        if self._alone:
            set_num_threads(1)

    def __exit__(self, *_) -> None:
        set_num_threads(self._before)
