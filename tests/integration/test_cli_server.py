"""The command line against a real server in this process, with an agent whose runtime is in memory."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from newbon_core.agent.identity import Identity
from newbon_core.agent.main import RunningAgent
from newbon_core.cli.main import root
from newbon_core.cli.session import Session
from newbon_core.config import AgentSettings, load_site
from newbon_core.server import RunningServer, run_server
from newbon_core.testing.cluster import free_port
from newbon_core.testing.runtime import FakeRuntime


class Site:
    """A server and one node ``n1``; ``newbon`` runs a command as the operator of this machine would."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "newbon.toml"
        self.config.write_text(f'[server]\nlisten = "127.0.0.1:{free_port()}"\ndata_dir = "{folder}/data"\n')
        site = load_site(self.config)
        self.server: RunningServer = run_server(site)
        self.runtime = FakeRuntime(time.time, images={"web:1": "sha256:1", "web:2": "sha256:2"})
        self.agent = RunningAgent(
            "n1", self.server.url, self.server.make_join_token(), Identity(site.data_dir, "n1"),
            {"docker": self.runtime}, AgentSettings(reserved_cpu_millis=0),
        )  # fmt: skip
        self._over = threading.Event()
        self._clock = threading.Thread(target=self._tick, daemon=True)

    def start(self) -> None:
        self._clock.start()
        self.agent.start()
        assert self.agent.wait_connected(10.0), self.agent.failure

    def _tick(self) -> None:
        while not self._over.wait(0.05):
            self.runtime.advance()

    def stop(self) -> None:
        self._over.set()
        self.agent.stop()
        self.server.stop()

    def newbon(self, *arguments: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(root, ["--config", str(self.config), *arguments], obj=Session(), input=stdin)

    def apply(self, name: str, *flags: str, **fields: object) -> Result:
        document = yaml.safe_dump({"kind": "Service", "name": name, "image": "web:1", **fields})
        return self.newbon("apply", "-f", "-", *flags, stdin=document)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with contextlib.ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name in ("NEWBON_SERVER", "NEWBON_TOKEN", "NEWBON_TOKEN_FILE", "NEWBON_CA", "NEWBON_CONFIG"):
            patch.delenv(name, raising=False)
        made = Site(tmp_path_factory.mktemp("cli"))
        stack.callback(made.stop)
        made.start()
        yield made


def test_a_service_is_applied_waited_for_shown_scaled_and_deleted(site: Site) -> None:
    done = site.apply("life", "--wait", "--timeout", "30s", replicas=2, labels={"app": "life"})
    assert (done.exit_code, done.stdout) == (0, "service/life created\n"), done.stderr
    assert done.stderr.splitlines()[-1] == "life: 2/2 running"
    shown = json.loads(site.newbon("get", "ins", "-l", "app=life", "-o", "json").stdout)
    assert [(one["name"], one["state"], one["node"]) for one in shown] == [
        ("life-1", "running", "n1"), ("life-2", "running", "n1"),
    ]  # fmt: skip
    assert site.newbon("scale", "life=3", "--wait").exit_code == 0
    assert "3/3" in site.newbon("get", "svc", "life").stdout
    assert site.newbon("delete", "svc", "life").exit_code == 0
    assert site.newbon("get", "svc", "life").exit_code == 1


def test_plan_tells_of_changes_by_its_exit_code(site: Site) -> None:
    document = "kind: Service\nname: planned\nimage: web:1\nreplicas: 2\n"
    before = site.newbon("plan", "-f", "-", stdin=document)
    assert before.exit_code == 2, before.stderr
    assert "n1" in before.stdout
    site.newbon("apply", "-f", "-", "--wait", stdin=document)
    assert site.newbon("plan", "-f", "-", stdin=document).exit_code == 0
    changed = site.newbon("plan", "-f", "-", stdin=document.replace("web:1", "web:2"))
    assert changed.exit_code == 2
    assert "~ image: web:1 -> web:2" in changed.stdout


def test_a_service_as_yaml_applied_again_changes_nothing(site: Site) -> None:
    site.apply("again", env={"A": "1"}, ports=[{"name": "http", "port": 8080}], resources={"cpu": 0.01})
    document = site.newbon("get", "service", "again", "-o", "yaml").stdout
    assert site.newbon("apply", "-f", "-", stdin=document).stdout == "service/again unchanged\n"


def test_every_problem_of_a_document_has_its_line(site: Site) -> None:
    done = site.newbon("apply", "-f", "-", stdin="kind: Service\nname: Bad_Name\nimgae: web:1\nreplicas: -1\n")
    assert done.exit_code == 1
    for part in ("standard input:2", "standard input:3", "standard input:4", "did you mean image?"):
        assert part in done.stderr


def test_what_fails_is_told_with_the_last_lines_of_its_log(site: Site) -> None:
    command = ["sh", "-c", "echo no such file; exit 3"]
    restart = {"backoff": "100ms"}
    done = site.apply("broken", "--wait", "--timeout", "30s", replicas=1, command=command, restart=restart)
    assert done.exit_code == 1
    assert "error: broken failed" in done.stderr, done.stderr
    assert "exit code 3" in done.stderr
    assert "    no such file" in done.stderr
    site.newbon("delete", "svc", "broken")


def test_what_has_no_room_says_why_and_explain_gives_the_amounts(site: Site) -> None:
    done = site.apply("huge", "--wait", "--timeout", "1s", replicas=1, resources={"memory": "900000GiB"})
    assert done.exit_code == 1
    assert "memory" in done.stderr
    explained = site.newbon("explain", "huge").stdout
    assert "n1" in explained
    assert "rejected" in explained
    assert "921600000 MiB" in explained or "GiB" in explained
    site.newbon("delete", "svc", "huge")


def test_logs_and_exec_come_through_the_server(site: Site) -> None:
    site.apply("talk", "--wait", "--timeout", "30s", replicas=1, command=["sh", "-c", "echo hello; sleep 600"])
    assert site.newbon("logs", "talk-1").stdout == "hello\n"
    assert "talk-1 | " in site.newbon("logs", "talk").stdout
    done = site.newbon("exec", "talk-1", "--", "sh", "-c", "echo done; exit 7")
    assert (done.exit_code, done.stdout) == (7, "done\n"), done.stderr
    assert "score" in site.newbon("explain", "talk-1").stdout
    for words in (["describe", "ins", "talk-1"], ["describe", "svc", "talk"], ["describe", "node", "n1"], ["events"]):
        looked = site.newbon(*words)
        assert looked.exit_code == 0, looked.stderr
    assert "talk-1" in site.newbon("describe", "ins", "talk-1").stdout.partition("Last events")[2]


def test_a_node_is_cordoned_labelled_and_tainted(site: Site) -> None:
    assert site.newbon("cordon", "n1").exit_code == 0
    assert "ready,cordoned" in site.newbon("get", "nodes").stdout
    assert "cordoned" in site.newbon("explain", "again").stdout
    assert site.newbon("uncordon", "n1").exit_code == 0
    assert "zone=a" in site.newbon("label", "n1", "zone=a").stdout
    assert site.newbon("get", "nodes", "-l", "zone=a").stdout.count("n1") == 1
    assert "gpu=only" in site.newbon("taint", "n1", "gpu=only").stdout
    assert site.newbon("taint", "n1", "gpu-").exit_code == 0
    assert site.newbon("label", "n1", "zone-").exit_code == 0


def test_a_viewer_may_look_and_is_told_what_it_may_not(site: Site) -> None:
    token = site.newbon("token", "create", "--role", "viewer").stdout.strip()
    assert site.newbon("get", "svc", "--token", token).exit_code == 0
    refused = site.newbon("scale", "again=2", "--token", token)
    assert refused.exit_code == 1
    assert "--role admin" in refused.stderr
    assert site.newbon("token", "delete", token.partition(".")[0]).exit_code == 0
    gone = site.newbon("get", "svc", "--token", token)
    assert (gone.exit_code, "newbon token create" in gone.stderr) == (1, True)


def test_every_kind_is_shown_in_every_format(site: Site) -> None:
    for noun in ("services", "instances", "nodes", "events", "revisions", "tokens"):
        for output in ("table", "wide", "json", "yaml"):
            done = site.newbon("get", noun, "-o", output)
            assert done.exit_code == 0, done.stderr
    assert site.newbon("version").stdout.strip().endswith("ready")
