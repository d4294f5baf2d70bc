"""What script/demo shows: Newbon on this machine, the example service on it, and why each instance is where it is."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from newbon_core.testing.images import ensure_test_image

ROOT = Path(__file__).resolve().parent.parent
NEWBON = Path(sys.executable).with_name("newbon")
EXAMPLE = ROOT / "examples" / "web.yaml"
STEP_TIMEOUT_S = 120


class DemoFailure(Exception):
    """A step of the demo did not do what it should."""


def say(text: str) -> None:
    """A headline between the steps."""
    bold, plain = ("\033[1m", "\033[0m") if sys.stdout.isatty() else ("", "")
    sys.stdout.write(f"\n{bold}==> {text}{plain}\n")
    sys.stdout.flush()


def newbon(*arguments: str) -> None:
    """Run a newbon command as a user would, showing it and what it prints."""
    sys.stdout.write(f"\n$ newbon {' '.join(arguments)}\n")
    sys.stdout.flush()
    done = subprocess.run([NEWBON, *arguments], timeout=STEP_TIMEOUT_S, cwd=ROOT)
    if done.returncode != 0:
        raise DemoFailure(f"'newbon {' '.join(arguments)}' ended with exit code {done.returncode}")


def instances() -> list[dict[str, object]]:
    """The instances of the example, as the API tells of them."""
    command = [NEWBON, "get", "instances", "-l", "app=web", "-o", "json"]
    found: list[dict[str, object]] = json.loads(subprocess.check_output(command, timeout=STEP_TIMEOUT_S))
    return [one for one in found if one["state"] == "running"]


def free_port(wanted: int) -> int:
    """``wanted`` where it is free on loopback, else any free port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", wanted))
            return wanted
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def running_newbon(home: Path) -> Iterator[subprocess.Popen[bytes]]:
    """``newbon up`` with its data in ``home``; stopped as Ctrl-C stops it."""
    home.mkdir(parents=True, exist_ok=True)
    port = free_port(7800)
    (home / "newbon.toml").write_text(f'[server]\nlisten = "127.0.0.1:{port}"\ndata_dir = "{home}/data"\n')
    os.environ |= {"NEWBON_CONFIG": str(home / "newbon.toml"), "NEWBON_SERVER": f"http://127.0.0.1:{port}"}
    sys.stdout.write(f"\n$ newbon up        (data in {home}, log in {home}/newbon.log)\n")
    with (home / "newbon.log").open("ab") as log:
        process = subprocess.Popen([NEWBON, "up"], stdout=log, stderr=log, start_new_session=True)
    try:
        wait_ready(process, port, home)
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_ready(process: subprocess.Popen[bytes], port: int, home: Path) -> None:
    """Wait until the server says that it is ready. Raises DemoFailure with the end of its log."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2):
            return
        time.sleep(0.1)
    tail = (home / "newbon.log").read_text(errors="replace")[-2000:]
    raise DemoFailure(f"Newbon did not become ready:\n{tail}")


def fetch_pages() -> None:
    """Fetch a page from every instance at its own address. Raises DemoFailure."""
    running = instances()
    if len(running) != 3:
        raise DemoFailure(f"expected 3 running instances, found {len(running)}")
    for one in running:
        url = f"http://{one['address']}:8080/"
        with urllib.request.urlopen(url, timeout=10) as answer:
            page = answer.read().decode()
        title = page[page.find("<h1>") + 4 : page.find("</h1>")]
        sys.stdout.write(f"  {one['name']}  {url}  {answer.status}  {title}\n")
    sys.stdout.flush()


def wait_measured() -> None:
    """Wait until the agent has measured every instance once, so that the table shows what they use."""
    deadline = time.monotonic() + 15
    while not all(one["usage"] for one in instances()):
        if time.monotonic() > deadline:
            raise DemoFailure("the agent told no measurements within 15 s")
        time.sleep(0.2)


def show() -> None:
    """Deploy, fetch, and show everything."""
    say("Deploying examples/web.yaml: three replicas of a web server")
    newbon("apply", "-f", str(EXAMPLE.relative_to(ROOT)), "--wait", "--timeout", "90s")
    say("A page from each instance")
    fetch_pages()
    say("What runs")
    wait_measured()
    newbon("get", "services")
    newbon("get", "instances", "-o", "wide")
    say("Why each was placed where it is")
    for one in instances():
        newbon("explain", str(one["name"]))


def clean_up() -> None:
    """Delete the service and wait until its containers are gone. Raises DemoFailure."""
    say("Cleaning up")
    newbon("delete", "service", "web")
    command = ["docker", "ps", "-q", "--filter", "label=newbon.service=web", "--filter", "status=running"]
    deadline = time.monotonic() + 30
    while subprocess.check_output(command, timeout=STEP_TIMEOUT_S).strip():
        if time.monotonic() > deadline:
            raise DemoFailure("containers of the example still run 30 s after it was deleted")
        time.sleep(0.2)


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="script/demo", description=__doc__)
    parser.add_argument("--check", action="store_true", help="clean up and exit instead of staying up")
    check = parser.parse_args().check
    base = Path("/var/lib") if os.geteuid() == 0 else Path.home() / ".local/share"
    home = base / "newbon-demo"
    try:
        say("The example image (built here, no registry needed)")
        sys.stdout.write(f"  {ensure_test_image(os.environ.get('DOCKER_HOST', 'unix:///var/run/docker.sock'))}\n")
        say("Starting Newbon: server, agent and SQLite store on this machine")
        with running_newbon(home) as process:
            show()
            if check:
                clean_up()
            else:
                stay_up(process)
        if process.returncode != 0:
            raise DemoFailure(f"newbon up ended with exit code {process.returncode}")
    except (DemoFailure, OSError, subprocess.SubprocessError) as error:
        sys.stderr.write(f"\nThe demo failed: {error}\n")
        return 1
    if check:
        shutil.rmtree(home, ignore_errors=True)
        say("The demo works")
    return 0


def stay_up(process: subprocess.Popen[bytes]) -> None:
    """Until Ctrl-C."""
    say("Newbon stays up until Ctrl-C. In another terminal:")
    environment = f"NEWBON_SERVER={os.environ['NEWBON_SERVER']} NEWBON_CONFIG={os.environ['NEWBON_CONFIG']}"
    sys.stdout.write(f"  export {environment}\n  {NEWBON} scale web=5\n  {NEWBON} get instances --watch\n")
    sys.stdout.flush()
    with contextlib.suppress(KeyboardInterrupt):
        process.wait()
        raise DemoFailure("newbon up ended by itself; its log tells why")


if __name__ == "__main__":
    sys.exit(main())
