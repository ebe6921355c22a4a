"""Map a function over items in forked processes."""

from __future__ import annotations

import gc
import multiprocessing
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any, TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
_jobs: Sequence[Callable[[], Any]] = ()  # inherited by forked processes, not sent


def map_forked(
    work: Callable[[_Item], _Result],
    items: Sequence[_Item],
    processes: int,
    meanwhile: Callable[[], None] = lambda: None,
) -> Iterator[_Result]:
    """Yield results in the items' order.

    `meanwhile` is called once, here, while the others work.
    """
    # A fork shares data and imports; other start methods cost more than they save.
    if min(processes, len(items)) < 2 or sys.platform != "linux":
        meanwhile()
        return map(work, items)
    return _forked([partial(work, item) for item in items], processes, meanwhile)


def _forked(
    jobs: Sequence[Callable[[], _Result]], processes: int, meanwhile: Callable[[], None]
) -> Iterator[_Result]:
    # Collecting inherited objects would copy their pages.
    gc.freeze()
    try:
        with ProcessPoolExecutor(
            min(processes, len(jobs)),
            mp_context=multiprocessing.get_context("fork"),
            initializer=_inherit,
            initargs=(jobs,),
        ) as pool:
            found = pool.map(_numbered, range(len(jobs)))
            meanwhile()
            yield from found
    finally:
        gc.unfreeze()


def _inherit(jobs: Sequence[Callable[[], Any]]) -> None:
    global _jobs
    _jobs = jobs


def _numbered(job: int) -> Any:
    return _jobs[job]()
