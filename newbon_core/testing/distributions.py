"""Real distributions for tests: wheels made by hand in milliseconds, and put where Python finds them."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """A distribution to build: ``files`` maps paths in the wheel to their text, ``entry_points`` names to targets."""

    name: str
    files: Mapping[str, str]
    entry_points: Mapping[str, str]
    version: str = "1.0"
    requires: Sequence[str] = ("newbon-core>=0.1,<1",)
    requires_python: str = ">=3.11"
    group: str = "newbon.v1"
    extra_metadata: Mapping[str, str] = field(default_factory=dict)

    def wheel(self, folder: Path) -> Path:
        """Write the wheel (PEP 427) into ``folder`` and return its path."""
        stem = f"{self.name.replace('-', '_')}-{self.version}"
        info = f"{stem}.dist-info"
        metadata = [f"Metadata-Version: 2.1\nName: {self.name}\nVersion: {self.version}"]
        metadata += [f"Requires-Python: {self.requires_python}"]
        metadata += [f"Requires-Dist: {requirement}" for requirement in self.requires]
        metadata += [f"{key}: {value}" for key, value in self.extra_metadata.items()]
        points = "".join(f"{name} = {target}\n" for name, target in self.entry_points.items())
        contents = {
            **self.files,
            f"{info}/METADATA": "\n".join(metadata) + "\n",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: newbon\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{info}/entry_points.txt": f"[{self.group}]\n{points}",
        }
        records = [f"{path},sha256={_digest(text)},{len(text.encode())}" for path, text in contents.items()]
        contents[f"{info}/RECORD"] = "\n".join([*records, f"{info}/RECORD,,"]) + "\n"
        path = folder / f"{stem}-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as archive:
            for name, text in contents.items():
                archive.writestr(name, text)
        return path

    def install(self, site: Path) -> None:
        """Build it and unpack it into a directory that is, or will be, on a Python's path, as an installer does."""
        site.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(self.wheel(site.parent)) as archive:
            archive.extractall(site)


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
