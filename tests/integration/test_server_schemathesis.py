"""schemathesis reads the description and tries whatever comes to its mind: nothing may be an error of the server, and
nothing may be answered that the description does not tell."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

sys.path.insert(0, str(Path(__file__).parent))
from server_builders import WEB, FakeAgent, client_of, serving

from newbon_core.server import RunningServer

SECONDS = 10
ENDLESS = ("/v1/agent/orders", "/v1/agent/streams/{stream_id}/input", "/v1/instances/{name}/logs")
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with serving(tmp_path_factory.mktemp("schemathesis")) as running:
        agent = FakeAgent(running, "n1", running.make_join_token()).start()
        client_of(running).apply([{**WEB, "replicas": 2}])
        yield running
        agent.stop()


def description(server: RunningServer) -> dict[str, Any]:
    """The description as served, less what answers without an end."""
    with urllib3.PoolManager() as pool:
        headers = {"Authorization": f"Bearer {server.admin_token}"}
        answer = pool.request("GET", f"{server.url}/openapi.json", headers=headers)
    assert answer.status == 200
    spec: dict[str, Any] = json.loads(answer.data)
    for path in ENDLESS:
        del spec["paths"][path]
    for operations in spec["paths"].values():
        for operation in operations.values():
            if isinstance(operation, dict) and "parameters" in operation:
                operation["parameters"] = [one for one in operation["parameters"] if one.get("name") != "watch"]
    return spec


@pytest.mark.parametrize("role", ["admin", "agent"])
def test_schemathesis_finds_nothing(server: RunningServer, role: str, tmp_path: Path) -> None:
    file = tmp_path / "openapi.json"
    file.write_text(json.dumps(description(server)))
    token, only = server.admin_token, []
    if role == "agent":
        token = str(client_of(server).create_token("agent", node="n1")["token"])
        only = ["--include-path-regex", "/v1/agent/"]
    program = Path(sys.executable).with_name("st")
    done = subprocess.run(
        [str(program), "run", str(file), "--url", server.url, "-H", f"Authorization: Bearer {token}",
         "--checks", CHECKS, "--max-time", str(SECONDS if role == "admin" else SECONDS // 3),
         "--phases", "examples,coverage,fuzzing", "--request-timeout", "15", "--no-color",
         "--suppress-health-check", "all", *only],
        capture_output=True, text=True, timeout=SECONDS * 4, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:]
    assert server.not_ready() == []
