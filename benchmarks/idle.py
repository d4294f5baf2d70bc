"""What an agent costs that has nothing to do: cpu of the agent process with so many containers running.

The agent is a real ``newbon agent`` with the default heartbeat of 2 s, its server beside it, on this machine's Docker
engine. Cpu is utime + stime of the agent's process and its ended children, from /proc.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
import uuid
from pathlib import Path

import psutil
from _report import arguments, report

from newbon_core.testing.cluster import NEWBON, ServerProcess, service_document
from newbon_core.testing.images import ensure_test_image
from newbon_core.testing.testbed import wait_until

ENGINE = "unix:///var/run/docker.sock"
SERVICE = "idle"


def cpu_s(process: psutil.Process) -> float:
    """Cpu seconds that the process has used."""
    times = process.cpu_times()
    return times.user + times.system + times.children_user + times.children_system


def start_agent(directory: Path, server: ServerProcess, node: str) -> subprocess.Popen[bytes]:
    """A real agent, with its log in the directory."""
    config = directory / "agent.toml"
    config.write_text(f'[server]\ndata_dir = "{directory}/agent"\n[plugins.runtime_docker]\nbase_url = "{ENGINE}"\n')
    token = directory / "join.token"
    token.write_text(server.client().create_token("join")["token"])
    token.chmod(0o600)
    with (directory / "agent.log").open("wb") as log:
        return subprocess.Popen(
            [*NEWBON, "agent", "--server", server.url, "--token-file", str(token), "--name", node],
            env=os.environ | {"NEWBON_CONFIG": str(config)}, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip


def measure(containers: int, seconds: float, directory: Path) -> dict[str, float]:
    """Start everything, wait until it is calm, measure, and remove everything."""
    image = ensure_test_image(ENGINE)
    server = ServerProcess(directory / "server")
    server.start()
    node = f"idle-{uuid.uuid4().hex[:8]}"
    agent = start_agent(directory, server, node)
    client = server.client()
    try:
        client.apply([service_document(SERVICE, containers, image)])

        def running() -> int:
            return sum(one["state"] == "running" for one in client.instances(SERVICE))

        wait_until(lambda: running() == containers, 30 + containers, f"{containers} containers run", every_s=0.5)
        time.sleep(5.0)
        process, beside = psutil.Process(agent.pid), psutil.Process(server.pid)
        agent_before, server_before, began = cpu_s(process), cpu_s(beside), time.monotonic()
        time.sleep(seconds)
        elapsed = time.monotonic() - began
        return {
            "agent_cpu_percent": 100 * (cpu_s(process) - agent_before) / elapsed,
            "server_cpu_percent": 100 * (cpu_s(beside) - server_before) / elapsed,
            "agent_memory_mib": process.memory_info().rss / 2**20,
            "agent_threads": process.num_threads(),
            "containers": running(),
            "seconds": elapsed,
        }
    finally:
        try:
            client.delete("service", SERVICE)
            listing = ["docker", "-H", ENGINE, "ps", "-aq", "--filter", f"label=newbon.node={node}"]
            wait_until(lambda: not subprocess.check_output(listing).strip(), 120, "all are gone", every_s=0.5)
        finally:
            agent.terminate()
            agent.wait(20)
            server.stop()


def main() -> None:
    """Measure and report."""
    parser = arguments(__doc__)
    parser.add_argument("--containers", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=30.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="newbon-idle-") as directory:
        found = measure(options.containers, options.seconds, Path(directory))
    report(
        f"An idle agent with {options.containers} containers (target: < 3 % of one core)",
        {"heartbeat": "2 s", "measured over": f"{found['seconds']:.0f} s"},
        [
            ("process", "cpu, % of one core", "memory, MiB", "threads"),
            ("agent", found["agent_cpu_percent"], found["agent_memory_mib"], int(found["agent_threads"])),
            ("its server", found["server_cpu_percent"], "", ""),
        ],
        found,
        options.json,
    )


if __name__ == "__main__":
    main()
