"""Objects to bytes and back, and the keys they live under: ``/newbon/<kind>/<name>``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from newbon_core.model import (
    EventBatch,
    Instance,
    InstanceStatus,
    Node,
    NodeStatus,
    Revision,
    Service,
    Token,
)

T = TypeVar("T")

ROOT = "/newbon/"

Object = Service | Revision | Instance | InstanceStatus | Node | NodeStatus | EventBatch | Token
ObjectType = type[Object]

FOLDERS: dict[ObjectType, str] = {
    Service: "services",
    Revision: "revisions",
    Instance: "instances",
    InstanceStatus: "status",
    Node: "nodes",
    NodeStatus: "nodestatus",
    EventBatch: "events",
    Token: "tokens",
}
_TYPES = {folder: kind for kind, folder in FOLDERS.items()}
_PREFIXES = {kind: f"{ROOT}{folder}/" for kind, folder in FOLDERS.items()}
_ENCODER = msgspec.json.Encoder()
_DECODERS: dict[ObjectType, msgspec.json.Decoder[Any]] = {kind: msgspec.json.Decoder(kind) for kind in FOLDERS}


class Undecodable(Exception):
    """A stored value is not what its key says; names the key and the first thing wrong in it."""


@dataclass(frozen=True, slots=True)
class ObjectKey:
    """A key taken apart."""

    kind: ObjectType
    name: str


def key_of(kind: ObjectType, name: str) -> str:
    """The key of the object of this kind and name."""
    return _PREFIXES[kind] + name


def key_for(value: Object) -> str:
    """The key under which this object is stored."""
    return _PREFIXES[type(value)] + value.name


def parse_key(key: str) -> ObjectKey | None:
    """Kind and name of a key; None for a key that holds no object (journal, leases)."""
    if not key.startswith(ROOT):
        return None
    folder, _, name = key[len(ROOT) :].partition("/")
    kind = _TYPES.get(folder)
    return ObjectKey(kind, name) if kind is not None and name else None


def encode(value: Object) -> bytes:
    """The object as JSON."""
    return _ENCODER.encode(value)


def decode(kind: ObjectType, key: str, value: bytes) -> Object:
    """The object from its JSON. Fields that a newer version added are ignored. Raises Undecodable."""
    try:
        decoded: Object = _DECODERS[kind].decode(value)
    except msgspec.DecodeError as error:
        raise Undecodable(f"{key}: {error}") from error
    return decoded


def to_builtins(value: object) -> Any:
    """The object as dicts, lists and plain values, for the API."""
    return msgspec.to_builtins(value, str_keys=True)


def from_builtins(kind: type[T], value: object) -> T:
    """An object of the model from dicts and lists. Raises msgspec.ValidationError with the path."""
    return msgspec.convert(value, kind)
