"""Amounts as people write them (``1m30s``, ``256MiB``, ``500m``) and back, exactly.

Every ``parse_…`` raises ValueError with a sentence that names the unit expected.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import lru_cache

MEBIBYTE = 1 << 20
MAX_CPU_MILLIS = 4_096_000
MIN_MEMORY_BYTES = MEBIBYTE
MAX_MEMORY_BYTES = 1 << 50

DURATION_EXPECTED = "a duration with its unit, such as 500ms, 10s, 1m30s or 2h"
CPU_EXPECTED = "cores, such as 0.5, 2 or 500m (thousandths of a core)"
MEMORY_EXPECTED = "an amount of memory with its unit, such as 256MiB, 1GiB or 512M, or a whole number of bytes"
PERCENT_EXPECTED = "a percentage, such as 70%"

_DURATION = re.compile(
    r"(?:([0-9]{1,6})d)?(?:([0-9]{1,6})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,9}(?:\.[0-9]{1,9})?)s)?(?:([0-9]{1,9})ms)?"
)
_DURATION_MS = (86_400_000, 3_600_000, 60_000, 1_000, 1)
_AMOUNT = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?) ?([A-Za-z]*)")
_CPU = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(m?)")
_PERCENT = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,3})?) ?%")

_BINARY = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40, "PiB": 1 << 50}
_DECIMAL = {"kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "PB": 10**15}
_UNITS = (
    {"B": 1, "KB": 1000, "K": 1000}
    | _BINARY
    | {unit[:-1]: factor for unit, factor in _BINARY.items()}
    | _DECIMAL
    | {unit[:-1]: factor for unit, factor in _DECIMAL.items()}
)
_FOLDED = {unit.lower(): unit for unit in ("B", *_BINARY, *(unit[:-1] for unit in _BINARY), *_DECIMAL)}


DURATION_PATTERN = r"^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,9}(\.[0-9]{1,3})?s)?([0-9]{1,9}ms)?$"
"""The usual spellings, for the OpenAPI description; ``parse_duration_ms`` decides."""


def parse_duration_ms(text: str) -> int:
    """``1m30s`` -> 90,000. Units in falling order, each once; never finer than a millisecond."""
    found = _DURATION.fullmatch(text)
    if not text or found is None:
        if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
            raise ValueError(f"the unit is missing: expected {DURATION_EXPECTED}")
        raise ValueError(f"expected {DURATION_EXPECTED}")
    total = Fraction(0)
    for part, ms in zip(found.groups(), _DURATION_MS, strict=True):
        total += Fraction(part or 0) * ms
    if total.denominator != 1:
        raise ValueError("expected a duration no finer than a millisecond")
    return int(total)


def format_duration(seconds: float) -> str:
    """The shortest spelling that ``parse_duration_ms`` reads back: ``1m30s``, ``500ms``."""
    rest = round(seconds * 1000)
    if rest < 1000:
        return f"{rest}ms" if rest else "0s"
    text = ""
    for ms, unit in ((3_600_000, "h"), (60_000, "m")):
        count, rest = divmod(rest, ms)
        text += f"{count}{unit}" if count else ""
    whole, ms = divmod(rest, 1000)
    if ms:
        return f"{text}{whole}.{ms:03d}".rstrip("0") + "s"
    return f"{text}{whole}s" if whole else text


def parse_cpu_millis(value: object) -> int:
    """``0.5``, ``2``, ``"0.5"`` or ``"500m"`` -> thousandths of a core, at least 1."""
    if isinstance(value, str):
        millis = _text_millis(value)
    elif isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"expected {CPU_EXPECTED}")
    elif not 0 < value <= MAX_CPU_MILLIS // 1000:
        raise ValueError(f"expected more than 0 and at most {MAX_CPU_MILLIS // 1000} {CPU_EXPECTED}")
    else:
        millis = round(value * 1000)
        if millis / 1000 != value:
            raise ValueError(f"expected no finer than a thousandth of a core: {CPU_EXPECTED}")
    if not 0 < millis <= MAX_CPU_MILLIS:
        raise ValueError(f"expected more than 0 and at most {MAX_CPU_MILLIS // 1000} {CPU_EXPECTED}")
    return int(millis)


@lru_cache(maxsize=1024)
def _text_millis(text: str) -> int:
    found = _CPU.fullmatch(text)
    if found is None:
        raise ValueError(f"expected {CPU_EXPECTED}")
    millis = Fraction(found[1]) * (1 if found[2] else 1000)
    if millis.denominator != 1:
        raise ValueError(f"expected no finer than a thousandth of a core: {CPU_EXPECTED}")
    return int(millis)


def format_cpu(millis: int) -> int | float:
    """Cores as a number: 500 -> 0.5, 2000 -> 2."""
    return millis // 1000 if millis % 1000 == 0 else millis / 1000


def parse_memory_bytes(value: object) -> int:
    """``256MiB``, ``512M`` (millions), ``1.5GiB`` or a whole number of bytes -> bytes, at least 1 MiB."""
    if isinstance(value, str):
        amount = _text_bytes(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        amount = value
    else:
        raise ValueError(f"expected {MEMORY_EXPECTED}")
    if 0 < amount < MIN_MEMORY_BYTES and not (isinstance(value, str) and value[-1].isalpha()):
        raise ValueError(f"expected at least 1MiB, this is a number of bytes: expected {MEMORY_EXPECTED}")
    if not MIN_MEMORY_BYTES <= amount <= MAX_MEMORY_BYTES:
        raise ValueError(f"expected from 1MiB to 1PiB: {MEMORY_EXPECTED}")
    return amount


@lru_cache(maxsize=1024)
def _text_bytes(text: str) -> int:
    found = _AMOUNT.fullmatch(text)
    if found is None:
        raise ValueError(f"expected {MEMORY_EXPECTED}")
    unit = found[2]
    if unit and unit not in _UNITS:
        meant = _FOLDED.get(unit.lower()) or _FOLDED.get(unit.lower() + "b")
        hint = f"; did you mean {found[1]}{meant}?" if meant else ""
        raise ValueError(f"unknown unit: expected {MEMORY_EXPECTED}{hint}")
    amount = Fraction(found[1]) * (_UNITS[unit] if unit else 1)
    if amount.denominator != 1:
        raise ValueError(f"expected whole bytes: {MEMORY_EXPECTED}")
    return int(amount)


def format_memory(amount: int) -> str | int:
    """The shortest exact spelling with a unit, binary units first; plain bytes where no unit divides."""
    spellings = [f"{amount // factor}{unit}" for unit, factor in _BINARY.items() if amount and amount % factor == 0]
    spellings += [f"{amount // factor}{unit}" for unit, factor in _DECIMAL.items() if amount and amount % factor == 0]
    return min(spellings, key=lambda text: len(text.rstrip("kKMGTPiB"))) if spellings else amount


def parse_percent(value: object) -> float:
    """``70%`` -> 70.0; from 0 to 100."""
    found = _PERCENT.fullmatch(value) if isinstance(value, str) else None
    if found is None or float(found[1]) > 100:
        raise ValueError(f"expected {PERCENT_EXPECTED}")
    return float(found[1])


PATTERNS: Mapping[Callable[[object], int], str] = {
    parse_cpu_millis: r"^[0-9]{1,4}(\.[0-9]{1,3})?$|^[0-9]{1,7}m$",
    parse_memory_bytes: r"^[0-9]{1,12}(\.[0-9])? ?([KMGTP]iB?|[kMGTP]B?|B)?$",
}
"""The same for amounts."""
