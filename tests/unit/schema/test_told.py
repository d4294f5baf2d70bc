"""How it is told what is wrong: all of it together, in sentences, never a secret."""

import pytest
from schema_builders import Host, problems_of, service

from newbon_core.schema import load_documents, load_sources, parse_documents


def test_everything_wrong_in_all_documents_is_told_together():
    result = parse_documents(
        [
            service(
                replicas=-1,
                image="A B",
                resources={"cpu": 0, "memory": "x"},
                nmae="x",
                ports=[{"name": "a", "port": 0}],
            ),
            "text",
            {"kind": "Servce", "name": "a"},
            service(name="other", env=5),
            service(),
            service(),
        ],
        Host.full(),
        "shop",
    )
    assert {(problem.index, problem.path) for problem in result.problems} == {
        (0, "replicas"), (0, "image"), (0, "resources.cpu"), (0, "resources.memory"), (0, "nmae"), (0, "ports[0].port"),
        (1, ""), (2, "kind"), (3, "env"), (4, "name"), (5, "name"),
    }  # fmt: skip
    assert {problem.source for problem in result.problems} == {"shop"}


def test_a_problem_is_a_sentence_with_everything_in_it():
    result = parse_documents(
        [service(), service(name="shop", ports=[{"name": "http", "port": 70000}])], Host.full(), "a.yaml"
    )
    assert str(result.problems[0]) == (
        "a.yaml: document 2 (Service shop): ports[0].port: 70000: expected a whole number from 1 to 65535"
    )


def test_long_values_are_shortened_and_containers_counted():
    result = parse_documents([service(name="x" * 5000, image=["a"] * 500, user={"a": 1})], Host.full())
    values = {problem.path: problem.value for problem in result.problems}
    assert len(values["name"]) <= 80
    assert values["image"] == "a list of 500 items"
    assert values["user"] == "a mapping of 1 field"
    assert all(len(str(problem)) < 600 for problem in result.problems)


@pytest.mark.parametrize(
    "fields",
    [
        {"env": {"TOKEN": 12345678}},
        {"env": {"A B": "hunter12345678"}},
        {"env": "A=12345678"},
        {"env": ["A=12345678"]},
        {"evn": "12345678"},
        {"environment": {"A": "12345678"}},
        {"password": "12345678"},
    ],
)
def test_what_may_be_a_secret_is_never_repeated(fields):
    result = parse_documents([service(**fields)], Host.full())
    assert not result.ok
    assert not any("12345678" in str(problem) + repr(problem) for problem in result.problems)


def test_the_same_service_twice_is_refused():
    found = parse_documents([service(), service(name="b"), service(replicas=2)], Host.full()).problems
    assert [(problem.index, problem.path, problem.message) for problem in found] == [
        (2, "name", "Service web is document 1 already")
    ]


def test_a_fixed_host_port_of_several_replicas_is_a_note():
    result = parse_documents([service(replicas=3, ports=[{"name": "http", "port": 80, "host_port": 80}])], Host.full())
    assert result.ok
    assert [(note.path, note.message) for note in result.notes] == [
        ("ports[0].host_port", "is fixed: 3 replicas need as many nodes; auto takes any free port")
    ]


def test_a_flood_of_problems_is_cut_and_said_so():
    result = parse_documents([service(name=f"a{n}", x=1, y=2) for n in range(5_000)], Host.full())
    assert len(result.problems) == 201
    assert result.problems[-1].message.startswith("has more problems than the 200 shown; ")


def test_problems_of_a_text_come_in_the_order_of_its_lines():
    text = b"""kind: Service
name: web
imge: a
replicas: -1
ports:
- name: http
  port: 0
- port: yes
---
kind: Servce
"""
    result = load_documents(text, Host.full(), "a.yaml")
    assert [(problem.line, problem.path) for problem in result.problems] == [
        (1, "image"), (3, "imge"), (4, "replicas"), (7, "ports[0].port"), (8, "ports[1].port"), (8, "ports[1].name"),
        (10, "kind"),
    ]  # fmt: skip


def test_a_document_in_two_files_is_refused_at_the_second():
    text = b"kind: Service\nname: web\nimage: a\n"
    result = load_sources(
        [("a.yaml", text), ("b.yaml", b"---\n" + text.replace(b"web", b"db") + b"---\n" + text)], Host.full()
    )
    assert [str(problem) for problem in result.problems] == [
        'b.yaml: document 2 (Service web): name: "web": Service web is document 1 of a.yaml already'
    ]


def test_lists_that_contradict_themselves_are_told_beside_wrong_fields():
    ports = [{"name": "a", "port": 80}, {"name": "b", "port": 80}]
    assert set(problems_of(service(replicas=-1, ports=ports))) == {"replicas", "ports[1].port"}
