"""Amounts as people write them."""

from __future__ import annotations

_UNITS = ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


def size(value: int) -> str:
    """Bytes in the largest unit that says it in at most two decimals: ``300 MiB``, ``1.5 GiB``."""
    for unit, name in _UNITS:
        if value >= unit:
            exact = value % unit == 0
            if exact or (value * 100) % unit == 0 or value >= unit * 10 or unit == 1 << 10:
                return f"{_decimal(value / unit)} {name}"
            if value >= unit:
                lower = unit >> 10 return f"{_decimal(value / lower)} {'MiB' if lower == 1 << 20 else 'GiB' if lower
                == 1 << 30 else 'KiB'}"
    return f"{value} B"


def cores(millis: int) -> str:
    """Thousandths of a core: ``0.5 cores``, ``1 core``."""
    return "1 core" if millis == 1000 else f"{_decimal(millis / 1000, 3)} cores"


def plain(value: int) -> str:
    """A count."""
    return str(value)


def _decimal(value: float, digits: int = 2) -> str:
    return f"{value:.{digits}f}".rstrip("0").rstrip(".")
