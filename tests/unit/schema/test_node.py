"""The Node document."""

import pytest
from schema_builders import loaded, problems_of

from newbon_core.model import Taint
from newbon_core.schema import NodePatch, dump_node


def node(**fields):
    return {"kind": "Node", "name": "n1"} | fields


def test_what_is_not_given_is_left_as_it_is():
    assert loaded(node()) == NodePatch(name="n1", labels=None, taints=None, cordoned=None)


def test_what_is_given_replaces():
    taints = [{"key": "dedicated", "value": "batch"}, {"key": "spot"}]
    model = loaded(node(labels={"disk": "ssd"}, taints=taints, cordoned=False))
    assert model == NodePatch(
        name="n1",
        labels={"disk": "ssd"},
        taints=(Taint(key="dedicated", value="batch"), Taint(key="spot")),
        cordoned=False,
    )
    assert dump_node(model) == node(labels={"disk": "ssd"}, taints=taints, cordoned=False)


def test_emptied_is_not_left_as_it_is():
    model = loaded(node(labels={}, taints=[]))
    assert (model.labels, model.taints) == ({}, ())
    assert dump_node(model) == node(labels={}, taints=[])


@pytest.mark.parametrize(
    ("fields", "path", "expected"),
    [
        ({"labels": {"node": "x"}}, "labels.node", "cannot be set"),
        ({"labels": {"a": 5}}, "labels.a", "put it in quotes"),
        ({"taints": [{"key": "a"}, {"key": "a", "value": ""}]}, "taints[1]", "is the same key and value"),
        ({"taint": []}, "taint", "did you mean taints"),
        ({"cordoned": "yes"}, "cordoned", "true or false"),
        ({"name": "N1"}, "name", "a node's name"),
        ({"cpu": 4}, "cpu", "not a known field"),
    ],
)
def test_what_is_refused(fields, path, expected):
    found = problems_of(node(**fields))
    assert path in found, found
    assert expected in found[path]
