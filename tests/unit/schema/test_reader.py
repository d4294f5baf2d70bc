"""From bytes to plain values, with limits."""

import json
import time

import pytest
from schema_builders import Host

from newbon_core.schema import load_documents, reader
from newbon_core.schema.reader import MAX_BYTES, MAX_NODES, read

GOOD = "kind: Service\nname: web\nimage: shop/web:1\n"


def values(text):
    result = read(text.encode())
    assert not result.problems, result.problems
    return [value for _, value in result.documents]


def problem(text):
    """The first problem of a text that has to be refused."""
    data = text if isinstance(text, bytes) else text.encode()
    result = load_documents(data, Host.full(), "shop.yaml")
    assert not result.ok
    assert str(result.problems[0]).startswith("shop.yaml")
    return result.problems[0]


# --- what is read -----------------------------------------------------------------------------------------------------


def test_several_documents_and_empty_ones():
    assert values("---\na: 1\n---\n---\n# nothing\n---\nb: 2\n") == [{"a": 1}, {"b": 2}]


def test_json_is_read_and_a_list_is_several_documents():
    assert values('{"a": [1, 2.5, true, null, "x"]}') == [{"a": [1, 2.5, True, None, "x"]}]
    assert values('[{"a": 1}, {"a": 2}]') == [{"a": 1}, {"a": 2}]
    assert values("- a: 1\n- a: 2\n") == [{"a": 1}, {"a": 2}]


def test_the_start_of_a_flow_mapping_is_not_taken_for_json():
    assert values("{a: b}") == [{"a": "b"}]


def test_a_byte_order_mark_does_not_matter():
    assert read(b"\xef\xbb\xbfa: 1").documents == [(0, {"a": 1})]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("-5", -5),
        ("0x1F", 31),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ('"yes"', "yes"),
        ("'017'", "017"),
        ("2024-01-01", "2024-01-01"),
        ("1.2.3", "1.2.3"),
        ("0.5s", "0.5s"),
        ("256MiB", "256MiB"),
        ("a:b", "a:b"),
        ("10.0.0.1:80", "10.0.0.1:80"),
        ("y", "y"),
        ("1000:1000", "1000:1000"),
        ("+", "+"),
        ("-", [None]),
        ("0", 0),
        ("0.10", 0.1),
    ],
)
def test_scalars_are_read_by_yaml_1_2(text, value):
    assert values(f"a: {text}" if text != "-" else "a:\n- \n") == [{"a": value}]


def test_anchors_and_aliases_work():
    assert values("a: &x {k: v}\nb: *x\nc: [*x]\n") == [{"a": {"k": "v"}, "b": {"k": "v"}, "c": [{"k": "v"}]}]


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["yes", "No", "on", "OFF"])
def test_words_that_are_booleans_for_some_are_refused(word):
    found = problem(f"{GOOD}labels: {{debug: {word}}}")
    assert (found.path, found.value, found.line) == ("labels.debug", f'"{word}"', 4)
    assert "put it in quotes" in found.message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("08", "leading zero"),
        ("017", "leading zero"),
        ("0o17", "leading zero"),
        ("22:22", "base 60"),
        ("1:30:00", "base 60"),
        ("1_000", "without '_'"),
        (".inf", "not a finite number"),
        ("-.INF", "not a finite number"),
        (".nan", "not a finite number"),
        ("1e999", "too large"),
    ],
)
def test_numbers_that_are_read_differently_or_are_none_are_refused(text, said):
    found = problem(f"{GOOD}replicas: {text}")
    assert found.path == "replicas"
    assert said in found.message


def test_a_surprise_in_env_is_told_without_its_value():
    found = problem(f"{GOOD}env: {{TOKEN: 017}}")
    assert found.value is None
    assert "017" not in str(found)


@pytest.mark.parametrize("text", ["!!str web", "!python/object:os.system x", "!!binary aGk=", "! x"])
def test_tags_are_refused(text):
    assert "tag" in problem(f"kind: Service\nname: {text}\nimage: a").message


def test_tags_on_containers_are_refused():
    assert problem(f"{GOOD}command: !!python/tuple [a]").path == "command"


def test_duplicate_keys_are_refused_with_their_place():
    found = problem(f"{GOOD}env:\n  A: x\n  A: y\n")
    assert (found.path, found.line, found.message) == ("env.A", 6, "is there twice")
    assert problem('{"kind": "Service", "name": "a", "name": "b", "image": "c"}').path == "name"


def test_merge_keys_are_refused():
    assert "merge keys" in problem(f"{GOOD}env: {{<<: {{A: b}}}}").message


@pytest.mark.parametrize("text", ["a: &a [*a]", "&a {b: *a}", "&a [&b [*a]]", "a: *nowhere"])
def test_cyclic_and_dangling_aliases_are_refused(text):
    assert "alias" in problem(text).message


@pytest.mark.parametrize("key", ["[a]", "{a: b}", "5", "true", "~", "1.5"])
def test_names_of_fields_are_text(key):
    assert any("text as the name" in one.message for one in read(f"? {key}\n: x".encode()).problems)


def test_control_characters_and_other_encodings_are_refused_with_the_line():
    assert "U+0000 in line 2" in problem("a: b\nc: \x00").message
    assert "is not UTF-8: byte 6 in line 2" in problem(b"a: b\nc\xff: d").message
    assert "is not UTF-8" in problem(GOOD.encode("utf-16")).message
    assert problem('kind: Service\nname: web\nimage: a\nargs: ["\\0"]').path == "args[0]"
    assert problem('{"kind": "Service", "name": "web", "image": "a", "args": ["\\ud800"]}').path == "args[0]"


def test_broken_yaml_tells_line_and_column_and_the_documents_before_it_are_still_checked():
    result = load_documents(b"kind: Service\nname: Web\nimage: a\n---\na: [b\n", Host.full(), "shop.yaml")
    texts = [str(one) for one in result.problems]
    assert any("not valid YAML: column" in text and "shop.yaml:6" in text for text in texts), texts
    assert any("shop.yaml:2: document 1 (Service Web): name" in text for text in texts), texts


def test_empty_input_is_refused():
    for text in ("", "---\n---\n", "# only a word\n", "null"):
        assert problem(text).message == "holds no document"


def test_what_is_no_mapping_is_refused():
    for text in ("web", "- web", "[1, 2]", "5"):
        assert "expected a mapping with kind and name" in problem(text).message


# --- limits -----------------------------------------------------------------------------------------------------------


def quickly(data):
    started = time.perf_counter()
    found = problem(data)
    assert time.perf_counter() - started < 5, "a hostile text took too long"
    return found


def test_ten_megabytes_are_refused_before_they_are_read(monkeypatch):
    monkeypatch.setattr(reader.yaml, "parse", None)
    assert quickly(b"a: b\n" * 2_000_000).message == f"is 10000000 bytes long: expected at most {MAX_BYTES}"


def test_an_alias_bomb_ends_at_the_limit_of_values():
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n"
    for one, before in zip("bcdefghi", "abcdefgh", strict=True):
        bomb += f"{one}: &{one} [{','.join([f'*{before}'] * 9)}]\n"
    assert f"more than {MAX_NODES} values" in quickly(bomb).message


def test_many_aliases_end_at_their_limit():
    assert "aliases" in quickly("a: &a x\nb: [" + "*a," * 2_000 + "]").message


@pytest.mark.parametrize("unit", ["[", "{a: ", "- ", "? "])
def test_depth_ends_at_the_limit(unit):
    assert any(
        word in quickly(unit * (MAX_BYTES // len(unit))).message for word in ("nested deeper", "name of a field")
    )
    assert "nested deeper" in quickly('{"a":' * 50_000 + "1" + "}" * 50_000).message


@pytest.mark.parametrize("text", ["a: 1" + "_" * 500_000 + "x", "a: 1" + ":5" * 400_000 + "x", "a: " + "9" * 900_000])
def test_long_scalars_are_no_slower_than_they_are_long(text):
    assert quickly(text).path == "kind"


def test_many_values_end_at_the_limit():
    assert "more than" in quickly("a: [" + "b," * 400_000 + "]").message


def test_without_libyaml_the_same_is_read_and_refused(monkeypatch):
    monkeypatch.setattr(reader, "_LOADER", reader.yaml.SafeLoader)
    assert values("a: &x [1, 2.5, yes1]\nb: *x") == [{"a": [1, 2.5, "yes1"], "b": [1, 2.5, "yes1"]}]
    for text in ("a: [b", 'a: "\\UFFFFFFFF"', "a: !!str b", "a: &a [*a]", "\t- a", "%YAML 9.9\n---\na"):
        assert problem(text)


def test_json_that_is_nearly_right_is_explained():
    assert json.loads('{"a": NaN}')
    assert problem('{"kind": "Service", "name": "web", "image": "a", "replicas": NaN}').path == "replicas"
