"""What depends on which plugins are installed."""

import pytest
from marshmallow import Schema, fields
from schema_builders import Host, loaded, problems_of, service

from newbon_core.hooks.providers import FieldProblem
from newbon_core.schema import parse_documents


class Options(Schema):
    init = fields.Boolean(required=True)
    shm_mib = fields.Integer(strict=True)


class Exploding(Schema):
    def load(self, *args, **options):
        raise RuntimeError("boom")


def test_an_unknown_runtime_lists_what_is_installed():
    found = problems_of(service(runtime="podman"), Host.bare())
    assert found == {"runtime": "no runtime podman is installed; installed: docker"}


def test_without_any_runtime_it_is_said_how_to_get_one():
    found = problems_of(service(), Host())
    assert found == {"runtime": "no runtime docker is installed: pip install newbon-runtime-docker; installed: none"}


def test_options_of_a_runtime_are_held_to_its_schema():
    host = Host.bare(container_schema=Options)
    assert loaded(service(runtime_options={"init": True}), host).container.runtime_options == {"init": True}
    found = problems_of(service(runtime_options={"shm_mib": "x", "inti": True}), host)
    assert set(found) == {"runtime_options.init", "runtime_options.shm_mib", "runtime_options.inti"}
    assert "did you mean init?" in found["runtime_options.inti"]


def test_a_runtime_without_options_takes_none():
    assert problems_of(service(runtime_options={"a": 1}), Host.bare()) == {
        "runtime_options": "runtime docker takes no options"
    }


def test_a_schema_that_raises_refuses_and_names_the_runtime():
    found = problems_of(service(runtime_options={"a": 1}), Host.bare(container_schema=Exploding))
    assert found == {"runtime_options": "runtime docker could not check its options: RuntimeError: boom"}


SET = [
    ("resources", {"resources": {"cpu": 1}}, "newbon-filter-resources"),
    ("resources", {"resources": {"gpu": 1}}, "newbon-filter-resources"),
    ("ports", {"ports": [{"name": "a", "port": 1, "host_port": "auto"}]}, "newbon-filter-resources"),
    ("schedule.constraints", {"schedule": {"constraints": ["x"]}}, "newbon-filter-constraints"),
    ("schedule.tolerations", {"schedule": {"tolerations": [{"key": "a"}]}}, "newbon-filter-constraints"),
    ("schedule.affinity", {"schedule": {"affinity": [{"service": "a"}]}}, "newbon-filter-constraints"),
    ("schedule.max_per_node", {"schedule": {"max_per_node": 1}}, "newbon-filter-constraints"),
    ("schedule.spread", {"schedule": {"spread": ["zone"]}}, "newbon-score-spread"),
]


@pytest.mark.parametrize(("path", "document", "distribution"), SET)
def test_what_no_plugin_enforces_is_refused_and_it_is_said_how_to_get_one(path, document, distribution, bare):
    found = problems_of(service(**document), bare)
    assert set(found) == {path}
    assert "no enabled plugin enforces" in found[path]
    assert f"pip install {distribution}" in found[path]


@pytest.mark.parametrize(("path", "document", "distribution"), SET)
def test_what_a_plugin_enforces_is_accepted(path, document, distribution, host):
    assert distribution
    assert path
    loaded(service(**document), host)


@pytest.mark.parametrize(
    "document",
    [
        {"schedule": {"spread": ["node"], "max_per_node": 0, "constraints": [], "priority": 3}},
        {"resources": {}, "ports": [{"name": "a", "port": 1}]},
    ],
)
def test_defaults_that_are_written_out_need_no_plugin(document, bare):
    loaded(service(**document), bare)


def test_a_plugins_findings_are_told_at_their_place(bare):
    host = bare.enforcing("schedule.constraints", lambda value: [FieldProblem("[1]", f"no operator in {value[1]}")])
    host.enforcing(
        "resources", lambda value: [FieldProblem(".cpu", f"{value.cpu_millis} is odd"), FieldProblem("", "bad")]
    )
    found = problems_of(service(schedule={"constraints": ["a == b", "c"]}, resources={"cpu": 0.5}), host)
    assert found == {"schedule.constraints[1]": "no operator in c", "resources.cpu": "500 is odd", "resources": "bad"}


def test_host_ports_are_checked_as_one_tuple_over_all_ports(bare):
    seen = []
    host = bare.enforcing("ports.host_port", lambda value: seen.append(value) or [FieldProblem("[1]", "is reserved")])
    ports = [
        {"name": "a", "port": 1},
        {"name": "b", "port": 2, "host_port": 22},
        {"name": "c", "port": 3, "host_port": "auto"},
    ]
    assert problems_of(service(ports=ports), host) == {"ports[1].host_port": "is reserved"}
    assert seen == [(None, 22, 0)]


@pytest.mark.parametrize("answer", [lambda _value: 1 / 0, lambda _value: None, lambda _value: ["text"]])
def test_a_plugin_that_raises_or_answers_nonsense_refuses_and_is_named(answer, bare):
    found = problems_of(service(resources={"cpu": 1}), bare.enforcing("resources", answer, plugin="guard"))
    assert "plugin guard could not check this" in found["resources"]


def test_what_a_plugin_says_is_kept_to_one_short_line(bare):
    host = bare.enforcing("resources", lambda _value: [FieldProblem("", "two\nlines \ud800 " + "x" * 9_000)])
    found = problems_of(service(resources={"cpu": 1}), host)["resources"]
    assert found.startswith("two\\u000alines \\ud800 xxx")
    assert len(found) <= 1_000


def test_what_plugins_refuse_is_told_together_with_what_the_schema_refuses(bare):
    found = problems_of(
        service(name="A", image=5, imge="x", replicas=-1, runtime="podman", resources={"cpu": 0, "memory": "1GiB"}),
        bare,
    )
    assert set(found) == {"name", "image", "imge", "replicas", "runtime", "resources.cpu", "resources"}


def test_all_documents_of_a_refused_input_are_still_checked(bare):
    result = parse_documents([service(resources={"cpu": 1}), service(name="b", schedule={"spread": ["zone"]})], bare)
    assert [(problem.index, problem.path) for problem in result.problems] == [(0, "resources"), (1, "schedule.spread")]
    assert not result.documents
