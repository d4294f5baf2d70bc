"""Which of many requests are placed as one group: those for one replica each that differ in the service's name only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from newbon_core.hooks.types import PlacementRequest
from newbon_core.scheduler.table import Table

Wanted = tuple[PlacementRequest, Sequence[str]]
"""A request and a name for each of its replicas."""


def alike(wanted: Sequence[Wanted], table: Table) -> Iterator[Sequence[Wanted]]:
    """All of them in order, cut into runs that are alike; what cannot be like another is a run of its own.

    Whoever takes a run places it before taking the next: the table says what is new.
    """
    run: list[Wanted] = []
    services: set[str] = set()
    for one in wanted:
        request, names = one
        if run and (request.service in services or not _differ_in_name_only(run[0][0], request)):
            yield run
            run, services = [], set()
        if request.count == 1 and len(names) == 1 and table.is_new(request.service) and names[0] not in table:
            run.append(one)
            services.add(request.service)
            continue
        if run:
            yield run
            run, services = [], set()
        yield [one]
    if run:
        yield run


def _differ_in_name_only(one: PlacementRequest, other: PlacementRequest) -> bool:
    return (
        one.now == other.now
        and one.revision == other.revision
        and one.schedule == other.schedule
        and one.container == other.container
    )
