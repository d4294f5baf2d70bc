"""docs/documents.md and the examples cannot drift from the schemas."""

from pathlib import Path
from typing import Any

import pytest
from schema_builders import Host, loaded, service

from newbon_core.model import Service
from newbon_core.schema import ServiceSchema, dump_service, load_documents
from newbon_core.schema.documents import SCHEMAS
from newbon_core.schema.fields import Reads
from newbon_core.schema.reference import fields_of, inner_schema, reference

ROOT = Path(__file__).parents[3]
COMPANIONS: dict[str, dict[str, Any]] = {
    "ports[].": {"name": "http", "port": 8080},
    "mounts[].": {"path": "/data", "volume": "v1"},
    "schedule.tolerations[].": {"key": "k"},
    "schedule.affinity[].": {"service": "cache"},
    "taints[].": {"key": "k"},
}
"""What else an item needs to be whole."""
FIELDS = [(kind, path, field) for kind, schema in SCHEMAS.items() for path, field in fields_of(schema)]
LEAVES = [(kind, path, field) for kind, path, field in FIELDS if inner_schema(field) is None]


def with_value(kind: str, path: str, value: object) -> dict[str, Any]:
    """The smallest document of the kind in which the field has this value."""
    for name in reversed(path.split(".")):
        here = path[: path.rindex(name)]
        inner = {name.removesuffix("[]"): value}
        value = COMPANIONS.get(here, {}) | inner
        if here.endswith("[]."):
            value = [value]
    assert isinstance(value, dict)
    if path == "mounts[].host_path":
        value["mounts"][0].pop("volume")
    return (service() if kind == "Service" else {"kind": "Node", "name": "n1"}) | value


def test_the_page_is_what_the_schemas_say():
    page = (ROOT / "docs" / "documents.md").read_text()
    assert page == reference(), "run: python -m newbon_core.schema.reference > docs/documents.md"


@pytest.mark.parametrize(("kind", "path", "field"), FIELDS, ids=lambda value: value if isinstance(value, str) else "")
def test_every_field_is_described_and_reads_by_itself(kind, path, field):
    assert field.metadata["description"].endswith("."), f"{kind} {path}"
    assert isinstance(field, Reads)


@pytest.mark.parametrize(("kind", "path", "field"), LEAVES, ids=lambda value: value if isinstance(value, str) else "")
def test_every_example_is_accepted(kind, path, field):
    if path == "runtime_options":
        return
    assert "example" in field.metadata
    loaded(with_value(kind, path, field.metadata["example"]))


WITH_DEFAULT = [(kind, path, field) for kind, path, field in FIELDS if "default" in field.metadata]


@pytest.mark.parametrize(
    ("kind", "path", "field"), WITH_DEFAULT, ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_default_that_is_written_out_is_the_same_as_none(kind, path, field):
    written = with_value(kind, path, field.metadata["default"])
    absent = with_value(kind, path, field.metadata["default"])
    *parents, last = path.split(".")
    place: Any = absent
    for name in parents:
        place = place[name.removesuffix("[]")][0] if name.endswith("[]") else place[name]
    del place[last]
    assert loaded(written) == loaded(absent)


def test_every_field_of_the_model_can_be_written():
    """A field that is added to the model without a place in the document would be lost by a dump."""
    by_document = {"capabilities_add", "capabilities_drop", "stop_signal", "stop_grace_s", "container"}
    kept_by_the_core = {"revision", "created_at", "updated_at", "updated_by"}
    model = loaded(service())
    names = set(Service.__dataclass_fields__) | set(type(model.container).__dataclass_fields__)
    assert names - by_document - kept_by_the_core == set(ServiceSchema().fields) - {"kind", "capabilities", "stop"}


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda path: path.name)
def test_examples_are_accepted_and_round_trip(path):
    result = load_documents(path.read_bytes(), Host.full(), path.name)
    assert result.ok, [str(problem) for problem in result.problems]
    for document in result.documents:
        if isinstance(document.value, Service):
            assert loaded(dump_service(document.value)) == document.value
