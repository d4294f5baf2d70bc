"""Makes the ``etcd3`` package importable with protobuf 4 and later.

Its generated modules create descriptors in a way that protobuf gave up with version 4. What they describe is also in
them as one serialized text each. That is read out of the source, without running it; message classes are built of it in
a descriptor pool of their own (so that another etcd library in the process is not disturbed); and the three modules
are put into ``sys.modules`` before etcd3 is imported.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.internal import enum_type_wrapper

_PACKAGE = "etcd3.etcdrpc"
_MODULES = ("kv", "auth", "rpc")
_DROPPED = ("gogoproto/", "google/api/", "protoc-gen")
_lock = threading.Lock()

# What etcd's servers have learnt since etcd3 was published (etcd 3.4's rpc.proto): message, field, number, type.
_SINCE = (
    ("WatchCreateRequest", "watch_id", 7, "int64"),
    ("WatchCreateRequest", "fragment", 8, "bool"),
    ("WatchResponse", "fragment", 7, "bool"),
)
_TYPES = {
    "int64": descriptor_pb2.FieldDescriptorProto.TYPE_INT64,
    "bool": descriptor_pb2.FieldDescriptorProto.TYPE_BOOL,
}


def load_etcd3() -> ModuleType:
    """The ``etcd3`` package. Raises ImportError with a sentence where it is missing or is another version."""
    with _lock:
        if f"{_PACKAGE}.rpc_pb2" not in sys.modules:
            for name, module in _build(_folder()).items():
                sys.modules[name] = module
        return importlib.import_module("etcd3")


def _folder() -> Path:
    # Finding a package's submodule would import the package; finding the package itself does not.
    spec = importlib.util.find_spec("etcd3")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError("the package etcd3 is not installed")
    return Path(next(iter(spec.submodule_search_locations))) / "etcdrpc"


def _build(folder: Path) -> dict[str, ModuleType]:
    pool = descriptor_pool.DescriptorPool()
    built = {}
    for name in _MODULES:
        source = folder / f"{name}_pb2.py"
        described = _without_options(read_descriptor(source))
        _learn(described)
        pool.AddSerializedFile(described.SerializeToString())
        module = ModuleType(f"{_PACKAGE}.{name}_pb2", f"Built of {source}.")
        _fill(module, pool.FindFileByName(described.name))
        built[module.__name__] = module
    return built


def read_descriptor(source: Path) -> descriptor_pb2.FileDescriptorProto:
    """The file descriptor that a generated module holds in serialized form; the module is parsed, not run."""
    try:
        tree = ast.parse(source.read_text(encoding="utf-8"))
    except OSError as error:
        raise ImportError(f"etcd3 has no {source.name}: expected version 0.12.0 ({error})") from error
    for node in ast.walk(tree):
        serialized = _serialized(node) if isinstance(node, ast.Call) else None
        if serialized is not None:
            return descriptor_pb2.FileDescriptorProto.FromString(serialized)
    raise ImportError(f"{source} holds no serialized descriptor: expected etcd3 0.12.0")


def _serialized(call: ast.Call) -> bytes | None:
    """``FileDescriptor(serialized_pb=_b('…'))`` (etcd3 0.12), or ``AddSerializedFile(b'…')`` (generated later)."""
    function = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    if function == "FileDescriptor":
        values = [keyword.value for keyword in call.keywords if keyword.arg == "serialized_pb"]
    elif function == "AddSerializedFile":
        values = call.args[:1]
    else:
        return None
    for value in values:
        inner = value.args[0] if isinstance(value, ast.Call) and value.args else value
        if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
            return inner.value.encode("latin1")
        if isinstance(inner, ast.Constant) and isinstance(inner.value, bytes):
            return inner.value
    return None


def _without_options(described: descriptor_pb2.FileDescriptorProto) -> descriptor_pb2.FileDescriptorProto:
    """Without what other files would be needed for, and without options: they change nothing on the wire."""
    kept = [name for name in described.dependency if not name.startswith(_DROPPED)]
    del described.dependency[:], described.public_dependency[:], described.weak_dependency[:]
    described.dependency.extend(kept)
    del described.service[:]
    described.ClearField("options")
    for message in described.message_type:
        _clear_message(message)
    for enum in described.enum_type:
        _clear_enum(enum)
    return described


def _clear_message(message: descriptor_pb2.DescriptorProto) -> None:
    # A map is told from its entry's option, which therefore has to stay.
    if not message.options.map_entry:
        message.ClearField("options")
    for part in (*message.field, *message.oneof_decl):
        part.ClearField("options")
    for enum in message.enum_type:
        _clear_enum(enum)
    for nested in message.nested_type:
        _clear_message(nested)


def _clear_enum(enum: descriptor_pb2.EnumDescriptorProto) -> None:
    enum.ClearField("options")
    for value in enum.value:
        value.ClearField("options")


def _learn(described: descriptor_pb2.FileDescriptorProto) -> None:
    messages = {message.name: message for message in described.message_type}
    for name, field, number, kind in _SINCE:
        message = messages.get(name)
        if message is not None and all(one.number != number for one in message.field):
            message.field.add(name=field, number=number, type=_TYPES[kind], label=1)
    watch = messages.get("WatchRequest")
    if watch is not None and "WatchProgressRequest" not in messages:
        described.message_type.add(name="WatchProgressRequest")
        watch.field.add(
            name="progress_request",
            number=3,
            type=descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE,
            label=1,
            type_name=f".{described.package}.WatchProgressRequest",
            oneof_index=0,
        )


def _fill(module: ModuleType, described: Any) -> None:
    """What a generated module offers: message classes, top-level enumerations, and their values."""
    content: dict[str, Any] = {"DESCRIPTOR": described}
    for name, message in described.message_types_by_name.items():
        content[name] = message_factory.GetMessageClass(message)
    for name, enum in described.enum_types_by_name.items():
        content[name] = enum_type_wrapper.EnumTypeWrapper(enum)
        content.update((value.name, value.number) for value in enum.values)
    module.__dict__.update(content)
