"""Which server, which token; how a run ends; what is imported."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli_fakes import FakeClient, eventually, run
from click.testing import CliRunner

from newbon_core.cli.errors import CliError
from newbon_core.cli.live import Mirror
from newbon_core.cli.main import GLOBALS, root
from newbon_core.cli.place import find_place
from newbon_core.cli.session import Session, is_loopback, normal_url
from newbon_core.client import ServerUnreachable, WatchEvent
from newbon_core.config import load_site

NEWBON = (sys.executable, "-m", "newbon_core")


@pytest.mark.parametrize(
    "document",
    [
        "",
        '[server]\nlisten = "0.0.0.0:7801"\ndata_dir = "data"\n',
        '[server]\nlisten = "[::1]:7802"\ndata_dir = "~/newbon"\n',
        '[server]\ntls_cert = "a.pem"\ntls_key = "b.pem"\ndata_dir = "/srv/x"\n[nodes]\nheartbeat_s = 1.0\n',
    ],
)
def test_the_quick_reader_of_the_sites_file_agrees_with_the_real_one(tmp_path: Path, document: str) -> None:
    path = tmp_path / "newbon.toml"
    path.write_text(document)
    site, place = load_site(path), find_place(str(path))
    assert (place.listen, place.data_dir, place.tls) == (site.listen, site.data_dir, site.tls_cert is not None)


@pytest.mark.parametrize(
    "document", ["[server\n", "[server]\nlisten = 7\n", '[server]\nlisten = "here"\n', "server = 1\n"]
)
def test_a_sites_file_that_is_wrong_is_one_error(tmp_path: Path, document: str) -> None:
    path = tmp_path / "newbon.toml"
    path.write_text(document)
    done = CliRunner().invoke(root, ["get", "svc", "--config", str(path)], obj=Session())
    assert done.exit_code == 1
    assert str(path) in done.stderr
    assert "Traceback" not in done.stderr


def test_the_admin_token_of_this_machines_server_is_found_by_itself(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    token = tmp_path / "data" / "admin.token"
    token.write_text("id.secret\n")
    token.chmod(0o600)
    assert Session().find_token() == "id.secret"
    assert Session(server="localhost:9").find_token() == "id.secret"


def test_the_admin_token_is_never_sent_to_another_machine(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "admin.token").write_text("id.secret\n")
    with pytest.raises(CliError, match=r"no token for http://10\.0\.0\.1:7800"):
        Session(server="10.0.0.1:7800").find_token()


def test_without_a_token_the_hint_says_how_one_comes_to_be() -> None:
    done = CliRunner().invoke(root, ["get", "svc"], obj=Session())
    assert done.exit_code == 1
    assert "newbon up" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["--token", "flag"], "flag"), ([], "variable"), (["--token-file", "token"], "in the file"),
        (["get", "svc", "--token", "late"], "late"),
        (["--token", "a", "get", "svc", "--token-file", "token"], "in the file"),
    ],
)  # fmt: skip
def test_the_command_line_wins_over_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], wanted: str
) -> None:
    (tmp_path / "token").write_text("in the file\n")
    (tmp_path / "token").chmod(0o600)
    monkeypatch.setenv("NEWBON_TOKEN", "variable")
    monkeypatch.setenv("NEWBON_SERVER", "http://newbon.example:1")
    monkeypatch.chdir(tmp_path)
    seen: list[str] = []
    client = FakeClient()
    session = Session(make_client=lambda url, token, *_: seen.append(token) or client)
    CliRunner().invoke(root, arguments if "get" in arguments else [*arguments, "get", "svc"], obj=session)
    assert seen == [wanted]


def test_a_token_that_everybody_can_read_is_warned_of(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("x")
    path.chmod(0o644)
    done = CliRunner().invoke(root, ["version", "--token-file", str(path), "--server", "127.0.0.1:1"], obj=Session())
    assert f"warning: {path} can be read by everybody" in done.stderr


@pytest.mark.parametrize(("given", "url"), [("a:1", "http://a:1"), ("https://a/", "https://a")])
def test_a_server_may_be_given_without_scheme(given: str, url: str) -> None:
    assert normal_url(given) == url


@pytest.mark.parametrize("given", ["ftp://a", "http://", "http://a:99999", "a b://"])
def test_what_is_no_server_is_refused(given: str) -> None:
    with pytest.raises(CliError, match="is not a server"):
        normal_url(given)


def test_loopback_is_this_machine_and_nothing_else() -> None:
    assert [is_loopback(host) for host in ("localhost", "127.0.0.9", "::1", "10.0.0.1", "localhost.evil")] == [
        True, True, True, False, False,
    ]  # fmt: skip


# --- how it ends -----------------------------------------------------------------------------------------------------


def test_an_unreachable_server_says_how_to_start_one(client: FakeClient) -> None:
    client.problem = ServerUnreachable("no answer from the server")
    done = run(client, "get", "svc")
    assert done.exit_code == 1
    assert "newbon up" in done.stderr


def test_a_defect_is_one_sentence_and_a_traceback_only_when_asked_for(
    client: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.problem = ZeroDivisionError("oops")
    assert "this is a defect of Newbon: ZeroDivisionError: oops" in run(client, "get", "svc").stderr
    assert "Traceback" not in run(client, "get", "svc").stderr
    monkeypatch.setenv("NEWBON_DEBUG", "1")
    assert "Traceback" in run(client, "get", "svc").stderr


@pytest.mark.parametrize(
    "arguments", [["gte"], ["get"], ["get", "svc", "-o", "xml"], ["apply"], ["scale", "--bogus"], []]
)
def test_wrong_usage_ends_with_64(arguments: list[str]) -> None:
    assert run(None, *arguments).exit_code == 64


def test_a_misspelt_command_suggests_the_nearest() -> None:
    assert "did you mean 'apply'?" in run(None, "aply").stderr


@pytest.mark.parametrize("error", [KeyboardInterrupt(), BrokenPipeError()])
def test_ctrl_c_and_a_broken_pipe_are_quiet(client: FakeClient, error: BaseException) -> None:
    client.problem = error  # type: ignore[assignment]  # it is only raised
    done = run(client, "get", "svc")
    assert done.exit_code == {KeyboardInterrupt: 130, BrokenPipeError: 141}[type(error)]
    assert done.stderr.strip() == ""


def test_a_reader_that_goes_away_ends_a_real_run_with_141() -> None:
    command = [*NEWBON, "--help"]
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, timeout=30, check=False)
    os.close(writing)
    assert (process.returncode, process.stderr) == (141, b"")


@pytest.mark.parametrize("arguments", [["--help"], ["get", "--help"], ["get", "svc", "--server", "127.0.0.1:1"]])
def test_client_commands_import_nothing_heavy(arguments: list[str]) -> None:
    program = (
        "import sys, atexit\n"
        "heavy = ('numpy', 'flask', 'grpc', 'marshmallow', 'apscheduler', 'psutil', 'pluggy', 'yaml', 'rich')\n"
        "atexit.register(lambda: sys.stderr.write('HEAVY ' + ','.join(n for n in heavy if n in sys.modules)))\n"
        f"sys.argv = ['newbon', *{[*arguments]!r}]\n"
        "from newbon_core.cli.main import main\nmain()\n"
    )
    environment = os.environ | {"NEWBON_TOKEN": "t"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, timeout=30, env=environment, check=False
    )
    # rich is there to ask whether standard output is a terminal, and only once there is a table to print.
    assert done.stderr.decode().rpartition("HEAVY ")[2] == ""


def test_every_command_takes_the_global_options_anywhere() -> None:
    for name in root.list_commands(None):  # type: ignore[arg-type]  # the context is not used
        command = root.get_command(None, name)  # type: ignore[arg-type]  # as above
        assert command is not None
        flags = {flag for parameter in command.params for flag in parameter.opts}
        assert flags >= set(GLOBALS), name


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_its_completion_script(shell: str) -> None:
    assert "_NEWBON_COMPLETE" in run(None, "completion", shell).stdout


@pytest.mark.parametrize(
    ("words", "offered"),
    [("newbon ge", ["get"]), ("newbon get ser", ["services"]), ("newbon get svc w", ["web"]),
     ("newbon logs web-1", ["web-1", "web-10"]), ("newbon cordon n", ["n1", "n2", "n3"]), ("newbon scale w", ["web="])],
)  # fmt: skip
def test_names_are_completed_from_the_server(
    client: FakeClient, monkeypatch: pytest.MonkeyPatch, words: str, offered: list[str]
) -> None:
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
    monkeypatch.setenv("_NEWBON_COMPLETE", "bash_complete")
    session = Session(token="t", make_client=lambda *_: client)
    done = CliRunner().invoke(root, [], obj=session, prog_name="newbon", complete_var="_NEWBON_COMPLETE")
    assert [line.partition(",")[2] for line in done.stdout.splitlines()] == offered


def test_a_completion_that_cannot_be_had_is_silent(client: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    client.problem = ServerUnreachable("away")
    monkeypatch.setenv("COMP_WORDS", "newbon get svc w")
    monkeypatch.setenv("COMP_CWORD", "3")
    monkeypatch.setenv("_NEWBON_COMPLETE", "bash_complete")
    session = Session(token="t", make_client=lambda *_: client)
    done = CliRunner().invoke(root, [], obj=session, prog_name="newbon", complete_var="_NEWBON_COMPLETE")
    assert (done.stdout.strip(), done.stderr) == ("", "")


# --- the mirror of a watch -------------------------------------------------------------------------------------------


def test_after_a_reset_what_does_not_come_again_was_deleted() -> None:
    mirror = Mirror()
    events = [("put", "a", 1), ("put", "b", 1), ("synced", "", 0), ("reset", "", 0), ("put", "a", 1), ("synced", "", 0)]
    changes = [mirror.take(WatchEvent(kind, {"name": name, "v": v}, 1)) for kind, name, v in events]  # type: ignore[arg-type]  # literals
    assert [[(change, item["name"]) for change, item in each] for each in changes] == [
        [("put", "a")], [("put", "b")], [], [], [], [("deleted", "b")],
    ]  # fmt: skip


def test_a_piped_watch_prints_one_line_per_change_and_none_for_a_change_by_the_clock(client: FakeClient) -> None:
    from cli_fakes import SYNCED, deleted, instance, put

    busier = instance("web-1", usage=instance()["usage"] | {"cpu_cores": 1.0})
    failed = instance("web-1", state="failed", exit_code=1)
    client.watches["/v1/instances"] = [put(instance("web-1")), SYNCED, put(busier), put(failed), deleted("web-1")]
    client.watches_end = True
    lines = run(client, "get", "ins", "--watch").stdout.splitlines()
    assert [line.split()[:3] for line in lines] == [
        ["CHANGE", "NAME", "STATE"], ["present", "web-1", "running"], ["changed", "web-1", "failed"],
        ["deleted", "web-1", "failed"],
    ]  # fmt: skip


def test_ctrl_c_ends_a_real_watch_with_130() -> None:
    command = [sys.executable, Path(__file__).with_name("pty_watch.py"), "get", "ins", "--watch", "-o", "json"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    try:
        assert process.stdout is not None
        assert b'"pending"' in process.stdout.readline()
        eventually(lambda: process.poll() is None)
        time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=10)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert b"Traceback" not in stderr
