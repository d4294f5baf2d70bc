"""A server's own life over real HTTP: restarts, TLS, lost nodes, kill -9, and a store that refuses."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from server_builders import FAST, WEB, FakeAgent, client_of, running_names, serving, site_at, wait_until

from newbon_core.client import Client, ServerUnreachable
from newbon_core.server import run_server
from newbon_core.store.base import StoreUnavailable


def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        client_of(server).apply([WEB])
        token = server.admin_token
    with serving(tmp_path) as server:
        assert server.admin_token == token
        assert [one["name"] for one in client_of(server).services()] == ["web"]


def test_a_stopped_server_ends_its_streams_and_answers_no_more(tmp_path: Path) -> None:
    server = run_server(site_at(tmp_path))
    client = client_of(server)
    ended = threading.Event()
    watch = client.watch("/v1/services", give_up_s=0.5)

    def follow() -> None:
        try:
            for _ in watch:
                pass
        except ServerUnreachable:
            ended.set()

    threading.Thread(target=follow, daemon=True).start()
    time.sleep(0.2)
    began = time.monotonic()
    server.stop()
    assert time.monotonic() - began < 5.0
    assert ended.wait(10.0)
    with pytest.raises(ServerUnreachable):
        client.services()


def test_over_tls_a_client_verifies_the_server(tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=newbon",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)],
        check=True, capture_output=True,
    )  # fmt: skip
    with serving(tmp_path, tls_cert=cert, tls_key=key) as server:
        assert server.url.startswith("https://")
        trusting = Client(server.url, server.admin_token, ca=cert)
        assert trusting.ready()["ready"]
        with pytest.raises(ServerUnreachable, match="certificate"):
            Client(server.url, server.admin_token).ready()


def test_a_node_that_falls_silent_is_lost_and_its_instances_are_replaced(tmp_path: Path) -> None:
    with serving(tmp_path, nodes=FAST) as server:
        client = client_of(server)
        agents = [FakeAgent(server, name, server.make_join_token()).start() for name in ("n1", "n2")]
        beating = threading.Event()
        silent: set[str] = set()

        def beat() -> None:
            while not beating.wait(0.2):
                for agent in agents:
                    if agent.node not in silent:
                        agent.report()

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        client.apply([{**WEB, "replicas": 4}])
        wait_until(lambda: len(running_names(client, "web")) == 4)
        silent.add("n1")
        agents[0].stop()
        wait_until(lambda: client.node("n1")["state"] == "lost", told="n1 being lost")
        wait_until(lambda: {one["node"] for one in client.instances("web") if one["state"] == "running"} == {"n2"})
        wait_until(lambda: client.service("web")["running"] == 4)
        beating.set()
        thread.join(5.0)
        agents[1].stop()


def test_a_killed_server_process_comes_back_with_all_it_acknowledged(tmp_path: Path) -> None:
    data = tmp_path / "data"
    config = tmp_path / "newbon.toml"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config.write_text(f'[server]\ndata_dir = "{data}"\nlisten = "127.0.0.1:{port}"\n')
    environment = os.environ | {"NEWBON_CONFIG": str(config)}

    def start() -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", "newbon_core", "server"], env=environment, stderr=subprocess.DEVNULL
        )
        wait_until(lambda: _answers(port), 20.0, "the server's answer")
        return process

    process = start()
    client = Client(f"http://127.0.0.1:{port}", (data / "admin.token").read_text().strip())
    acknowledged = []
    killer = threading.Timer(0.5, process.kill)
    killer.start()
    number = 0
    try:
        while True:
            client.apply([{**WEB, "name": f"s{number}", "replicas": 0}])
            acknowledged.append(f"s{number}")
            number += 1
    except ServerUnreachable:
        process.wait(10.0)
    process = start()
    try:
        present = {one["name"] for one in client.services()}
        assert set(acknowledged) <= present
        assert len(acknowledged) > 5
    finally:
        process.terminate()
        assert process.wait(20.0) == 0


def _answers(port: int) -> bool:
    try:
        return bool(Client(f"http://127.0.0.1:{port}", None, timeout_s=1.0).ready())
    except ServerUnreachable:
        return False


def test_a_store_that_takes_no_writes_or_does_not_answer_makes_the_server_not_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StoreUnavailable("the disk that holds the store is full: nothing was written")

    with serving(tmp_path) as running:
        running._probed_at = 0.0
        running._check_store()
        assert running.not_ready() == []
        assert not running.cache.undecodable
        with monkeypatch.context() as broken:
            broken.setattr(running._store, "txn", full)
            running._probed_at = 0.0
            running._check_store()
            assert running.not_ready() == ["the disk that holds the store is full: nothing was written"]
        running._check_store()
        assert running.not_ready() == []
        running._asked_at = time.monotonic() - 4.0
        assert "the store has not answered" in running.not_ready()[0]
