"""The site's file: every default, every setting, and a sentence for whatever is wrong with it."""

from __future__ import annotations

import contextlib
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newbon_core.config import (
    ENVIRONMENT,
    AgentSettings,
    NodeSettings,
    PluginSettings,
    RegistryConfig,
    SiteError,
    StoreConfig,
    load_site,
    parse_site,
    read_secret,
    split_listen,
)
from newbon_core.model import Taint

WHOLE = """
[server]
listen = "0.0.0.0:7900"
data_dir = "data"
tls_cert = "tls/cert.pem"
tls_key = "/etc/newbon/key.pem"

[store]
kind = "etcd"
endpoints = ["10.0.0.1:2379", "10.0.0.2:2379"]
ca_cert = "ca.pem"
cert = "c.pem"
key = "k.pem"
username = "newbon"
password_file = "secret"

[nodes]
heartbeat_s = 1
lost_after_s = 3.5
zone_label = "rack"
pace_above = 0.4
pace_per_s = 2
pace_min_nodes = 5

[agent]
name = "n1"
labels = {zone = "a"}
countable = {gpu = 2}
reserved_cpu_millis = 500
reserved_memory_bytes = 1073741824
taints = ["dedicated=db", "gpu"]
parallel_starts = 4

[plugins]
enabled = ["filter_resources", "score_spread"]
order = ["score_spread"]

[plugins.score_spread]
weight = 2.0

[registries."reg.example:5000"]
username = "puller"
password_file = "reg.secret"
"""


def problems(text, path=None):
    with pytest.raises(SiteError) as caught:
        parse_site(tomllib.loads(text), path)
    return [str(problem) for problem in caught.value.problems]


@pytest.fixture
def no_file(monkeypatch, tmp_path):
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    monkeypatch.setattr("newbon_core.config.SYSTEM_FILE", tmp_path / "absent.toml")
    return tmp_path


def test_without_a_file_everything_has_a_default(no_file, monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "Host-7.example.org")
    site = load_site()
    assert site.path is None
    assert site.listen == "127.0.0.1:7800"
    assert site.store == StoreConfig()
    assert site.nodes == NodeSettings(heartbeat_s=2.0, lost_after_s=10.0)
    assert site.agent == AgentSettings(name="host-7", parallel_starts=2)
    assert site.plugins == PluginSettings()


@pytest.mark.parametrize(("uid", "expected"), [(0, "/var/lib/newbon"), (1000, "/home/u/.local/share/newbon")])
def test_data_lives_where_the_user_may_write(no_file, monkeypatch, uid, expected):
    monkeypatch.setattr("os.geteuid", lambda: uid)
    monkeypatch.setenv("HOME", "/home/u")
    assert load_site().data_dir == Path(expected)


def test_every_setting_is_read_and_relative_paths_start_at_the_file(tmp_path):
    path = tmp_path / "newbon.toml"
    path.write_text(WHOLE)
    site = load_site(path)
    assert (site.path, site.listen, site.data_dir) == (path, "0.0.0.0:7900", tmp_path / "data")
    assert (site.tls_cert, site.tls_key) == (tmp_path / "tls/cert.pem", Path("/etc/newbon/key.pem"))
    assert site.store == StoreConfig(
        kind="etcd",
        endpoints=("10.0.0.1:2379", "10.0.0.2:2379"),
        ca_cert=tmp_path / "ca.pem",
        cert=tmp_path / "c.pem",
        key=tmp_path / "k.pem",
        username="newbon",
        password_file=tmp_path / "secret",
    )
    assert site.nodes == NodeSettings(
        heartbeat_s=1.0, lost_after_s=3.5, zone_label="rack", pace_above=0.4, pace_per_s=2.0, pace_min_nodes=5
    )
    assert site.agent == AgentSettings(
        name="n1",
        labels={"zone": "a"},
        countable={"gpu": 2},
        reserved_cpu_millis=500,
        reserved_memory_bytes=2**30,
        taints=(Taint(key="dedicated", value="db"), Taint(key="gpu")),
        parallel_starts=4,
    )
    assert site.plugins == PluginSettings(
        enabled=("filter_resources", "score_spread"),
        order=("score_spread",),
        tables={"score_spread": {"weight": 2.0}},
        source=str(path),
    )
    assert site.registries == {
        "reg.example:5000": RegistryConfig(username="puller", password_file=tmp_path / "reg.secret")
    }


def test_the_environment_names_the_file(no_file, monkeypatch):
    (no_file / "mine.toml").write_text('[server]\nlisten = "127.0.0.1:1"\n')
    monkeypatch.setenv(ENVIRONMENT, str(no_file / "mine.toml"))
    assert load_site().listen == "127.0.0.1:1"


def test_the_systems_file_is_read_where_there_is_one(no_file, monkeypatch):
    (no_file / "absent.toml").write_text('[server]\nlisten = "127.0.0.1:2"\n')
    assert load_site().listen == "127.0.0.1:2"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"[server\n", "is not TOML: "),
        (b"\xff\xfe", "is not UTF-8 text: "),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, content, expected):
    path = tmp_path / "newbon.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SiteError) as caught:
        load_site(path)
    assert str(caught.value).startswith(f"{path}: {expected}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[sever]\n", "sever: there is no such key; did you mean 'server'?"),
        ("[server]\nlissten = 'x'", "[server] lissten: there is no such key; did you mean 'listen'?"),
        ("[agent]\nqqq = 1", "[agent] qqq: there is no such key; known here: "),
        ("[server]\nlisten = '7800'", "[server] listen: '7800' is not of the form host:port"),
        ("[server]\nlisten = 7800", "[server] listen: 7800 is not a text"),
        ("[server]\nlisten = 'h:70000'", "with a port from 0 to 65535"),
        ("[server]\ntls_cert = 'c'", "[server] tls_key: is missing; tls_cert and tls_key go together"),
        ("server = 3", "server: 3 is not a table"),
        ("[store]\nkind = 'etdc'", "[store] kind: 'etdc' is not one of sqlite, etcd; did you mean 'etcd'?"),
        ("[store]\nendpoints = []", "[store] endpoints: [] is not a list of host:port"),
        ("[store]\nendpoints = ['a']", "[store] endpoints: 'a' is not of the form host:port"),
        ("[store]\nendpoints = ['a:1', 'a:1']", "is not a list of different texts"),
        ("[store]\ncert = 'c'", "[store] key: is missing"),
        ("[store]\nusername = 'c'", "[store] password_file: is missing"),
        ("[nodes]\nheartbeat_s = true", "[nodes] heartbeat_s: True is not a number from 0.1 to 300"),
        ("[nodes]\nheartbeat_s = nan", "[nodes] heartbeat_s: nan is not a number"),
        ("[nodes]\nlost_after_s = 3", "[nodes] lost_after_s: 3 is less than two heartbeats of 2 s"),
        ("[agent]\nparallel_starts = 0", "[agent] parallel_starts: 0 is not a whole number from 1 to 64"),
        ("[agent]\nparallel_starts = 1.5", "[agent] parallel_starts: 1.5 is not a whole number"),
        ("[agent]\nlabels = {zone = 3}", "[agent] labels.zone: 3 is not a text"),
        ("[agent]\ncountable = {gpu = -1}", "[agent] countable.gpu: -1 is not a whole number that is not negative"),
        ("[plugins]\nenabled = 'x'", "[plugins] enabled: 'x' is not a list of different texts"),
        ("[plugins]\nx = 1", "[plugins] x: 1 is not a table"),
        ("[plugins]\nenabled = ['x']\ndisabled = ['x']", "[plugins] disabled: 'x' is both enabled and disabled"),
        ("[registries.'r.io']\nusername = 'u'", '[registries."r.io"] password_file: is missing; a login needs both'),
    ],
)
def test_what_is_wrong_is_told_with_path_value_and_expectation(text, expected):
    found = problems(text)
    assert any(expected in problem for problem in found), found


def test_everything_that_is_wrong_is_told_at_once():
    text = "[server]\nlisten = 1\n[nodes]\nheartbeat_s = 'x'\nzonelabel = 'z'\n[extra]\n"
    assert [problem.partition(":")[0] for problem in problems(text)] == [
        "[server] listen",
        "[nodes] heartbeat_s",
        "[nodes] zonelabel",
        "extra",
    ]


@pytest.mark.parametrize(
    ("listen", "expected"),
    [("127.0.0.1:80", ("127.0.0.1", 80)), ("[::1]:80", ("::1", 80)), ("host:0", ("host", 0))],
)
def test_an_address_is_split(listen, expected):
    assert split_listen(listen) == expected


@pytest.mark.parametrize("listen", ["::1:80", "host", ":80", "host:", "host:-1", "host:٣"])
def test_an_ambiguous_address_is_refused(listen):
    with pytest.raises(ValueError, match=r"ambiguous|not of the form"):
        split_listen(listen)


def test_a_password_is_read_from_its_file_without_the_lines_end(tmp_path):
    path = tmp_path / "secret"
    path.write_text("hunter2 \n")
    assert read_secret(path) == "hunter2 "
    path.write_text("\n")
    with pytest.raises(SiteError, match="the file is empty"):
        read_secret(path)
    with pytest.raises(SiteError, match="cannot be read"):
        read_secret(tmp_path / "absent")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
SECTIONS = st.sampled_from(["server", "store", "nodes", "agent", "plugins", "registries", "other"])
KEYS = st.sampled_from(["listen", "endpoints", "kind", "labels", "taints", "enabled", "heartbeat_s", "x"])


@given(st.dictionaries(SECTIONS, VALUES | st.dictionaries(KEYS, VALUES, max_size=4), max_size=4))
def test_whatever_stands_in_the_file_it_is_a_site_or_a_site_error(document):
    with contextlib.suppress(SiteError):
        site = parse_site(document)
        assert site.nodes.lost_after_s >= 2 * site.nodes.heartbeat_s


def test_the_page_on_the_file_names_every_key_and_its_true_defaults(no_file, monkeypatch):
    page = (Path(__file__).resolve().parents[3] / "docs" / "site.md").read_text()
    example = tomllib.loads(page.partition("```toml\n")[2].partition("```")[0])
    site = parse_site(example)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    usual = parse_site({})
    assert (site.listen, site.data_dir, site.nodes) == (usual.listen, usual.data_dir, usual.nodes)
    assert (site.store.kind, site.store.endpoints) == (usual.store.kind, usual.store.endpoints)
    assert site.agent.parallel_starts == usual.agent.parallel_starts
    for section, settings in (("store", StoreConfig), ("nodes", NodeSettings), ("agent", AgentSettings)):
        assert set(example[section]) == {one.name for one in fields(settings)}
