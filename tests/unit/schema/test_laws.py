"""Laws that hold for every document, tried on thousands: round trips, agreement of the two paths, no surprise ever."""

import json
from functools import partial
from random import Random

import yaml
from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from jsonschema_rs import validator_for
from marshmallow import INCLUDE, Schema, ValidationError
from schema_builders import JUNK, NODES, SERVICES, Host, loaded, mutated, spoil

from newbon_core.model import Service
from newbon_core.schema import dump_node, dump_service, dump_yaml, load_documents, parse_documents
from newbon_core.schema.documents import SCHEMAS

HOST = Host.full()


class Anything(Schema):
    class Meta:
        unknown = INCLUDE


OPEN = Host.bare(container_schema=Anything)
some = settings(deadline=None, max_examples=35, suppress_health_check=list(HealthCheck))
many = settings(some, max_examples=80)


def dumped(value):
    return dump_service(value) if isinstance(value, Service) else dump_node(value)


def told(result):
    """Everything a caller would show, which must be encodable."""
    for problem in result.problems:
        line = str(problem)
        line.encode("utf-8")
        assert problem.message
        assert len(line) < 3_000
        assert "\n" not in line
    return result


@some
@given(SERVICES | NODES)
def test_what_is_loaded_and_dumped_loads_as_the_same_model(document):
    model = loaded(document)
    spelt = dumped(model)
    assert loaded(spelt) == model
    assert dumped(loaded(spelt)) == spelt


@some
@given(st.text(alphabet="0123456789.:_-+eExonyesf<~ ", min_size=1, max_size=6))
@example("08")
@example("1e3")
@example("<<")
@example("yes")
@example("1:30")
@example(" ")
@example("a: b # c")
@example("\x80\x85\u2028\ufeff\u00e9\U0001f600\ttab\nline")
def test_text_that_looks_like_something_else_stays_text_in_yaml(text):
    model = loaded(
        {"kind": "Service", "name": "web", "image": "a", "args": [text], "runtime_options": {text: text}}, OPEN
    )
    result = load_documents(dump_yaml([dump_service(model)]).encode(), OPEN)
    assert result.ok, [str(problem) for problem in result.problems]
    assert result.documents[0].value == model


@some
@given(SERVICES | NODES)
def test_a_dump_is_plain_and_survives_json_and_yaml(document):
    model = loaded(document)
    spelt = dumped(model)
    assert loaded(json.loads(json.dumps(spelt))) == model
    texts = [dump_yaml([spelt]), json.dumps(spelt), json.dumps([spelt])]
    for text in texts:
        result = load_documents(text.encode(), HOST)
        assert result.ok, [str(problem) for problem in result.problems]
        assert result.documents[0].value == model


@many
@given(mutated())
def test_the_quick_path_and_the_explaining_path_agree(document):
    schema = SCHEMAS.get(document.get("kind")) if isinstance(document.get("kind"), str) else None
    if schema is None:
        return
    assert outcome(schema.accept, document) == outcome(partial(Schema.load, schema), document)


def outcome(load, document):
    """The model, or None where the document is refused."""
    try:
        return load(document)
    except ValidationError as wrong:
        assert wrong.messages  # noqa: PT017  a refusal without a word would be accepted by marshmallow's error store
        return None


@many
@given(mutated())
def test_a_document_out_of_order_is_accepted_or_refused_with_a_path(document):
    result = told(parse_documents([document], HOST))
    if result.ok:
        model = result.documents[0].value
        assert loaded(dumped(model)) == model
    else:
        assert not result.documents
        assert all(problem.path for problem in result.problems)


@some
@given(st.lists(JUNK | st.dictionaries(st.sampled_from(["kind", "name", "env", "ports"]), JUNK), max_size=3))
def test_any_plain_values_give_problems_and_never_an_exception(values):
    result = told(parse_documents(values, HOST))
    assert bool(result.problems) == bool(values)


@some
@given(st.binary(max_size=200) | st.text(alphabet="{}[]:-,&*!|>'\"%@`?#~ \n\tab01.<", max_size=60).map(str.encode))
def test_any_bytes_give_problems_and_never_an_exception(text):
    assert not told(load_documents(text, HOST)).ok


@some
@given(SERVICES, st.integers(0, 10_000), st.sampled_from(list("{}[]:-,&*!|>'\"\n\t\x00\x85\xa0é0y")), st.booleans())
def test_a_character_put_into_a_sound_text_never_gives_an_exception(document, at, character, as_json):
    text = json.dumps(document) if as_json else yaml.safe_dump(document)
    at %= len(text) + 1
    told(load_documents((text[:at] + character + text[at:]).encode(), HOST))


@settings(some, max_examples=40, phases=[Phase.explicit, Phase.generate])
@given(SERVICES | NODES, st.integers(0, 1 << 32))
def test_thousands_of_documents_out_of_order_are_refused_with_a_path_or_sound(document, seed):
    """Forty times fifty documents, each spoilt by plain random: cheaper than drawing every one."""
    random = Random(seed)
    for _ in range(50):
        spoilt = spoil(document, random)
        result = told(parse_documents([spoilt], HOST))
        assert result.ok or all(problem.path for problem in result.problems)
        kind = spoilt.get("kind")
        if kind == "Service":
            assert outcome(SCHEMAS[kind].accept, spoilt) == outcome(partial(Schema.load, SCHEMAS[kind]), spoilt)


def described():
    """The JSON schemas of all kinds as the OpenAPI description has them."""
    spec = APISpec(title="", version="", openapi_version="3.1.0", plugins=[MarshmallowPlugin()])
    for kind, schema in SCHEMAS.items():
        spec.components.schema(kind, schema=type(schema))
    return {kind: validator_for({**spec.to_dict(), "$ref": f"#/components/schemas/{kind}"}) for kind in SCHEMAS}


DESCRIBED = described()


@some
@given(SERVICES | NODES)
def test_what_is_accepted_is_also_right_by_the_openapi_description(document):
    validator = DESCRIBED[document["kind"]]
    validator.validate(document)
    validator.validate(dumped(loaded(document)))
