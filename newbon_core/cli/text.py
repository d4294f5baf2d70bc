"""Values as people read them: ages, sizes, labels; and text from a server made harmless for a terminal. All pure."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

MIB = 1024 * 1024

# A terminal acts on CSI, OSC and other ESC sequences and on C1 controls, and bidirectional marks turn text around.
_SEQUENCES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x9b[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c|$)"
    r"|\x1b[ -/]*[0-~]?"
)
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")
_UNSAFE_IN_DOCUMENTS = re.compile(r"[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")


def harmless(text: object) -> str:
    """The text without anything that a terminal would act on; newlines and tabs stay."""
    return _CONTROLS.sub("", _SEQUENCES.sub("", str(text)))


def one_line(text: object) -> str:
    """Harmless text with every run of white space as one blank."""
    return " ".join(harmless(text).split())


def has_unsafe(text: str) -> bool:
    """True when a JSON or YAML text holds characters that are legal in it and still not fit for a terminal."""
    return _UNSAFE_IN_DOCUMENTS.search(text) is not None


def escape_unsafe(json_text: str) -> str:
    r"""The same JSON with those characters written as ``\uXXXX``."""
    return _UNSAFE_IN_DOCUMENTS.sub(lambda match: f"\\u{ord(match[0]):04x}", json_text)


def duration(seconds: float) -> str:
    """The two largest units: ``0s``, ``41s``, ``3m12s``, ``2h05m``, ``4d03h``, ``412d``."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    if whole < 100 * 86400:
        return f"{whole // 86400}d{whole % 86400 // 3600:02d}h"
    return f"{whole // 86400}d"


def age(since: object, now: float) -> str:
    """How long ago a time in seconds since the epoch was; ``-`` for none."""
    if not isinstance(since, int | float) or not since or not math.isfinite(since):
        return "-"
    return duration(now - since)


def timestamp(at: object) -> str:
    """A time as UTC, to the second; ``-`` for none."""
    if not isinstance(at, int | float) or not at or not math.isfinite(at):
        return "-"
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def mib(size_bytes: object) -> str:
    """A size in MiB: ``0.4 MiB``, ``256 MiB``."""
    if not isinstance(size_bytes, int | float):
        return "-"
    size = size_bytes / MIB
    return f"{size:.1f} MiB" if 0 < abs(size) < 9.95 else f"{size:.0f} MiB"


def rate(bytes_per_second: object) -> str:
    """A rate in KiB or MiB per second."""
    if not isinstance(bytes_per_second, int | float):
        return "-"
    kib = bytes_per_second / 1024
    return f"{kib / 1024:.1f} MiB/s" if kib >= 1000 else f"{kib:.1f} KiB/s"


def cores(millis: object) -> str:
    """Thousandths of a core as cores: ``0.25``, ``8``."""
    return f"{millis / 1000:.3f}".rstrip("0").rstrip(".") if isinstance(millis, int | float) else "-"


def pairs(mapping: object) -> str:
    """``a=b,c=d`` sorted by key; ``-`` for nothing."""
    if not isinstance(mapping, Mapping) or not mapping:
        return "-"
    return ",".join(f"{key}={value}" if value != "" else str(key) for key, value in sorted(mapping.items()))


def ports(mapping: object) -> str:
    """``http=32768`` for each published port; ``-`` for none."""
    return pairs(mapping)


def taints(items: object) -> str:
    """``gpu=only,old`` ; ``-`` for none."""
    if not isinstance(items, Iterable) or isinstance(items, str):
        return "-"
    return ",".join(f"{t['key']}={t['value']}" if t.get("value") else str(t["key"]) for t in items) or "-"


_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)d)?(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?")


def parse_duration(text: str) -> float:
    """Seconds of ``90``, ``90s``, ``1h30m``, ``2d``. Raises ValueError with a sentence."""
    stripped = text.strip()
    if re.fullmatch(r"\d+(?:\.\d+)?", stripped):
        return float(stripped)
    match = _DURATION.fullmatch(stripped)
    if not stripped or match is None:
        raise ValueError(f"{text!r} is not a duration: write 90s, 5m, 1h30m or 2d")
    days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return days * 86400 + hours * 3600 + minutes * 60 + seconds
