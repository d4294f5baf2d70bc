"""Amounts as people write them."""

from __future__ import annotations

_UNITS = ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


def size(value: int, *, up: bool = False) -> str:
    """Bytes in their largest unit with at most two decimals, cut off (or rounded ``up``): ``300 MiB``, ``1.5 GiB``."""
    for unit, name in _UNITS:
        if value >= unit:
            hundredths = -(-value * 100 // unit) if up else value * 100 // unit
            return f"{_decimal(hundredths / 100)} {name}"
    return f"{value} B"


def cores(millis: int, *, up: bool = False) -> str:  # noqa: ARG001  the same face as size(); it needs no rounding
    """Thousandths of a core: ``0.5 cores``, ``1 core``."""
    return "1 core" if millis == 1000 else f"{_decimal(millis / 1000)} cores"


def plain(value: int, *, up: bool = False) -> str:  # noqa: ARG001  as cores()
    """A count."""
    return str(value)


def _decimal(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".")
