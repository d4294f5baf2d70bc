"""Between the contract's values and the engine's JSON, without an engine."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import ValidationError
from newbon_runtime_docker.convert import container_name, container_of, create_body, host_config, seconds_of
from newbon_runtime_docker.errors import may_pass, sentence_of
from newbon_runtime_docker.options import ContainerOptions, OptionsSchema, engine_url, size_bytes
from newbon_runtime_docker.pull import follow, pull_failure
from newbon_runtime_docker.streams import Demultiplexer

from newbon_core.hooks import ContainerOrder, RuntimeFailure
from newbon_core.model import ContainerSpec, Port, Resources


def order(**spec: object) -> ContainerOrder:
    container = ContainerSpec(image="web:1", **spec)  # type: ignore[arg-type]  given by the tests
    return ContainerOrder(
        uid="0123456789abcdef", instance="web-0", service="web", revision=3, node="n1", owner="me", spec=container,
        env={"NEWBON_NODE": "n1", "MODE": "agent"},
    )  # fmt: skip


def test_the_service_has_the_last_word_on_the_environment() -> None:
    body = create_body(order(env={"MODE": "production"}), "sha256:aa", {})
    assert body["Env"] == ["NEWBON_NODE=n1", "MODE=production"]
    assert body["Image"] == "sha256:aa"


def test_command_is_the_entry_point_and_args_its_arguments() -> None:
    body = create_body(order(command=("/app",), args=("-v",)), "sha256:aa", {})
    assert (body["Entrypoint"], body["Cmd"]) == (["/app"], ["-v"])
    plain = create_body(order(), "sha256:aa", {})
    assert "Entrypoint" not in plain
    assert "Cmd" not in plain


def test_names_carry_instance_and_uid() -> None:
    assert container_name(order()) == "newbon-web-0-89abcdef"
    assert container_name(order(), long=True) == "newbon-web-0-0123456789abcdef"


def test_memory_is_limited_to_its_reservation_and_cpu_is_not() -> None:
    config = host_config(order(resources=Resources(cpu_millis=500, memory_bytes=2**20)).spec, {})
    assert (config["Memory"], config["MemorySwap"], config["CpuShares"]) == (2**20, 2**20, 512)
    assert "NanoCpus" not in config
    assert "Memory" not in host_config(order().spec, {})


def test_the_sites_log_options_are_defaults_for_those_of_the_service() -> None:
    spec = order(runtime_options={"log_max_size": "1m"}).spec
    config = host_config(spec, {"log_max_size": "5m", "log_max_files": 7, "base_url": "unix:///x"})
    assert config["LogConfig"]["Config"] == {"max-size": "1m", "max-file": "7"}


def test_host_ports_come_back_under_their_names() -> None:
    labels = create_body(
        order(
            ports=(
                Port(name="http", port=8080, host_port=0),
                Port(name="dns", port=53, protocol="udp", host_port=53),
            )
        ),
        "sha256:aa",
        {},
    )["Labels"]
    container = container_of(
        {
            "Id": "c1", "Image": "sha256:aa", "Config": {"Labels": labels},
            "State": {
                "Status": "exited", "Pid": 0, "ExitCode": 137, "OOMKilled": True,
                "StartedAt": "2026-11-22T18:00:00.123456789Z", "FinishedAt": "2026-11-22T18:00:05Z",
            },
            "NetworkSettings": {
                "IPAddress": "172.17.0.2",
                "Ports": {
                    "8080/tcp": [{"HostPort": "32768"}, {"HostPort": "32768"}],
                    "53/udp": [{"HostPort": "53"}],
                    "9/tcp": None,
                },
            },
        }
    )  # fmt: skip
    assert container.host_ports == {"http": 32768, "dns": 53}
    assert (container.uid, container.revision, container.owner) == ("0123456789abcdef", 3, "me")
    assert (container.state, container.exit_code, container.oom_killed, container.pid) == ("exited", 137, True, None)
    assert container.finished_at is not None
    assert container.started_at is not None
    assert container.finished_at - container.started_at == pytest.approx(4.876544)


def test_the_engines_zero_time_is_no_time() -> None:
    assert seconds_of("0001-01-01T00:00:00Z") is None
    assert seconds_of(None) is None
    assert seconds_of("1970-01-01T00:00:01.5Z") == 1.5


@given(st.lists(st.binary(max_size=40), max_size=10), st.integers(1, 9))
def test_frames_come_apart_however_they_were_cut(payloads: list[bytes], cut: int) -> None:
    stream = b"".join(struct.pack(">BxxxL", 1, len(payload)) + payload for payload in payloads)
    demultiplexer = Demultiplexer()
    pieces = [demultiplexer.feed(stream[at : at + cut]) for at in range(0, len(stream), cut)]
    assert b"".join(pieces) == b"".join(payloads)


@pytest.mark.parametrize(
    ("text", "sentence", "retry"),
    [
        (
            "driver failed programming external connectivity on endpoint x: Bind for 0.0.0.0:8080 failed: "
            "port is already allocated",
            "host port 8080 is taken on this node",
            True,
        ),
        (
            "Error starting userland proxy: listen tcp4 0.0.0.0:8080: bind: address already in use",
            "host port 8080 is taken on this node",
            True,
        ),
        (
            'OCI runtime create failed: exec: "serve": executable file not found in $PATH: unknown',
            "the image has no program 'serve'",
            False,
        ),
        ("invalid mount config for type bind", "invalid mount config for type bind", False),
    ],
)
def test_the_engines_errors_are_sentences(text: str, sentence: str, retry: bool) -> None:
    assert (sentence_of(text), may_pass(text)) == (sentence, retry)


def test_why_a_pull_failed() -> None:
    away = pull_failure("r.example/a:1", "Get https://r.example/v2/: dial tcp: lookup r.example: no such host", False)
    assert away.retry
    assert "its registry does not answer" in str(away)
    missing = pull_failure("a:1", "manifest for a:1 not found: manifest unknown", False)
    assert (missing.retry, str(missing)) == (
        False,
        "image a:1 not found in registry and not on this node: manifest for a:1 not found: manifest unknown",
    )
    denied = pull_failure("a:1", "pull access denied for a", True)
    assert "refused the credentials" in str(denied)


def test_progress_is_told_in_layers_and_an_error_ends_it() -> None:
    told: list[str] = []
    lines = [
        {"id": "1", "status": "Pulling from library/a"},
        {"id": "aa", "status": "Downloading", "progressDetail": {"current": 3 * 2**20}},
    ]
    follow("a:1", lines, told.append)
    assert told == ["pulling a:1: 0 of 1 layers, 3 MiB received"]
    with pytest.raises(RuntimeFailure, match="unauthorized"):
        follow("a:1", [{"error": "unauthorized: authentication required"}], told.append)


def test_options_are_checked() -> None:
    assert ContainerOptions().load({"shm_size": "64m", "init": True}) == {"shm_size": "64m", "init": True}
    with pytest.raises(ValidationError, match="not a size"):
        ContainerOptions().load({"log_max_size": "10 MB"})
    with pytest.raises(ValidationError, match="not an engine's URL"):
        OptionsSchema().load({"base_url": "/var/run/docker.sock"})
    assert size_bytes("64m") == 64 * 2**20


def test_the_explicit_engine_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://elsewhere:2375")
    assert engine_url({}) == "tcp://elsewhere:2375"
    assert engine_url({"base_url": "unix:///mine.sock"}) == "unix:///mine.sock"
    monkeypatch.delenv("DOCKER_HOST")
    assert engine_url({}) == "unix:///var/run/docker.sock"
