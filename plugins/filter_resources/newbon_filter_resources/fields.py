"""The fields of a service document that this filter enforces."""

from __future__ import annotations

from collections.abc import Iterable

from newbon_core.hooks import ServiceField, hookimpl


@hookimpl
def newbon_service_fields() -> Iterable[ServiceField]:
    """Reservations, and ports fixed on the node."""
    return [ServiceField(path="resources"), ServiceField(path="ports.host_port")]
