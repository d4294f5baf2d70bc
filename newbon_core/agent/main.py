"""The agent's main: identity, threads, the line to the server and to the engines. Everything decided is elsewhere."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from newbon_core import client
from newbon_core.agent.backoff import Backoff
from newbon_core.agent.core import Core
from newbon_core.agent.engines import EngineWatch
from newbon_core.agent.facts import Facts
from newbon_core.agent.identity import AgentError, Identity, boot_id
from newbon_core.agent.link import Link, Orders
from newbon_core.agent.monitor import Monitor, PsutilHost
from newbon_core.agent.plan import ExecutorSettings
from newbon_core.agent.streams import StreamCarrier
from newbon_core.client import AgentClient, ApiProblem, ClientError
from newbon_core.config import AgentSettings, Site, read_secret
from newbon_core.hooks import Container, RegistryCredentials, Runtime
from newbon_core.hooks.host import PluginHost
from newbon_core.model import NodeStatus
from newbon_core.model.wire import OrdersUpdate

_log = logging.getLogger(__name__)
_FACTS_EVERY_S = 60.0


class RunningAgent:
    """One node's agent in threads of this process. ``stop`` ends it; its containers go on."""

    def __init__(
        self,
        node: str,
        server_url: str,
        token: str | None,
        identity: Identity,
        runtimes: Mapping[str, Runtime],
        settings: AgentSettings,
        *,
        credentials: Mapping[str, RegistryCredentials] | None = None,
        ca: Path | None = None,
        monitor: Monitor | None = None,
        connect: Callable[[str, str, Path | None], Link] = lambda url, token, ca: AgentClient(url, token, ca=ca),
    ) -> None:
        self.node = node
        self.server_url = server_url
        self.failure: str | None = None
        self._token = token
        self._identity = identity
        self._runtimes = dict(runtimes)
        self._facts = Facts(node, server_url, runtimes, settings)
        self._facts.on_change = self._facts_changed
        self._ca = ca
        self._connect = connect
        self._link: Link | None = None
        self._orders: Orders | None = None
        self._carrier: StreamCarrier | None = None
        self._stopping = threading.Event()
        self._ended = threading.Event()
        self._register = threading.Event()
        self._registered: NodeStatus | None = None
        self._connected = threading.Event()
        self._complained: str | None = None
        self._threads: list[threading.Thread] = []
        self._core = Core(
            node, identity.owner, boot_id(), runtimes, ExecutorSettings(parallel_starts=settings.parallel_starts),
            credentials or {}, monitor or Monitor(),
        )  # fmt: skip
        self._core.on_unregistered = self._register.set
        self._core.on_lost_contact = self._lost_contact

    def start(self) -> None:
        """Returns at once; ``wait_connected`` tells when the server has been reached."""
        self._run(self._main_loop, "newbon-agent-line")
        for name, runtime in self._runtimes.items():
            watch = EngineWatch(name, runtime, self._core, self._facts, self._stopping)
            self._run(watch.run, f"newbon-events-{name}")

    def wait_connected(self, timeout_s: float) -> bool:
        """True once the node is registered and its orders flow; False after the timeout, or when ``failure`` is set."""
        deadline = time.monotonic() + timeout_s
        while not self._connected.wait(0.05):
            if self._ended.is_set() or time.monotonic() > deadline:
                return False
        return True

    def wait(self, timeout_s: float | None = None) -> bool:
        """Until it has ended, by ``stop`` or because the server refuses it (then ``failure`` says why)."""
        return self._ended.wait(timeout_s)

    def stop(self) -> None:
        """End all threads. Containers go on; the next agent of this node adopts them."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._register.set()
        if self._carrier is not None:
            self._carrier.close()
        orders = self._orders
        if orders is not None:
            orders.close()
        self._core.stop()
        for runtime in self._runtimes.values():
            runtime.close()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(5.0)
        if self._link is not None:
            self._link.close()
        self._identity.close()
        self._ended.set()

    def _run(self, target: Callable[[], None], name: str) -> None:
        thread = threading.Thread(target=target, name=name, daemon=True)
        thread.start()
        self._threads.append(thread)

    # --- the line to the server -------------------------------------------------------------------------------------

    def _main_loop(self) -> None:
        try:
            link = self._join()
        except AgentError as error:
            self.failure = str(error)
            _log.error("%s", error)
            self._ended.set()
            return
        if link is None:
            return
        self._link = link
        self._carrier = StreamCarrier(link, self._runtimes, self._find)
        self._register_now(link)
        self._core.start(link)
        self._run(self._keep_registered, "newbon-agent-register")
        backoff = Backoff()
        while not self._stopping.is_set():
            self._follow_orders(link, backoff)
            self._stopping.wait(backoff.next())

    def _join(self) -> Link | None:
        """A link with this node's token; the server is asked until it answers. Raises AgentError when it says no."""
        saved = self._identity.token
        if saved is not None:
            link = self._connect(self.server_url, saved, self._ca)
            if self._token is None or not self._is_unknown(link):
                return link
            _log.warning("node %s: the server does not know its saved token; joining anew", self.node)
        if self._token is None:
            raise AgentError(f"node {self.node} has no token yet; make one with: newbon token create --role join")
        backoff = Backoff(first_s=0.2)
        while not self._stopping.is_set():
            try:
                token = client.join(self.server_url, self._token, self.node, ca=self._ca)
            except ApiProblem as problem:
                if problem.status == 403:
                    # Not a token to join with, so it is a node's own.
                    return self._connect(self.server_url, self._token, self._ca)
                if problem.status in (400, 401, 404, 409, 422):
                    raise AgentError(f"the server {self.server_url} refuses node {self.node}: {problem}") from problem
                self._complain(str(problem))
            except ClientError as error:
                self._complain(str(error))
            else:
                self._identity.keep(token)
                return self._connect(self.server_url, token, self._ca)
            self._stopping.wait(backoff.next())
        return None

    def _is_unknown(self, link: Link) -> bool:
        """True when the server says that the token means nothing to it."""
        try:
            link.register(self._facts.read())
        except ApiProblem as problem:
            return problem.status == 401
        except (ClientError, OSError):
            return False
        return False

    def _follow_orders(self, link: Link, backoff: Backoff) -> None:
        """Read orders until the line ends."""
        assert self._carrier is not None
        try:
            self._orders = orders = link.orders()
            for item in orders:
                if isinstance(item, OrdersUpdate):
                    self._core.post(partial(self._core.executor.accept, item))
                    if item.full:
                        backoff.reset()
                        self._regained_contact()
                else:
                    self._carrier.open(item)
                if self._stopping.is_set():
                    break
        except ApiProblem as problem:
            self._refused(problem)
        except (ClientError, OSError) as error:
            if not self._stopping.is_set():
                self._complain(str(error))
        finally:
            self._orders = None

    def _refused(self, problem: ApiProblem) -> None:
        if problem.status == 401:
            self._complain(
                f"the server does not know this node's token any more: {problem}; containers go on. To let the node "
                f"join anew, delete agent-{self.node}.token in the data directory and start the agent with a join token"
            )
        else:
            self._register.set()
            self._complain(str(problem))

    def _regained_contact(self) -> None:
        if self._complained is not None:
            _log.warning("node %s is connected to %s again", self.node, self.server_url)
        elif not self._connected.is_set():
            _log.info("node %s is connected to %s", self.node, self.server_url)
        self._complained = None
        self._connected.set()
        self._core.post(self._core.reporter.reconnected)

    def _complain(self, why: str) -> None:
        """Say once what is wrong, and again only when it is something else."""
        if why != self._complained and not self._stopping.is_set():
            self._complained = why
            _log.warning("node %s: %s; trying again, containers go on", self.node, why)

    def _lost_contact(self, why: str) -> None:
        """A report did not get through: the stream of orders may be dead as well, without knowing."""
        self._complain(why)
        orders = self._orders
        if orders is not None:
            orders.close()

    def _facts_changed(self) -> None:
        if self._registered is not None:
            self._register.set()

    # --- registration -----------------------------------------------------------------------------------------------

    def _keep_registered(self) -> None:
        """Register when the server asks for it, and when what the host has did change."""
        backoff = Backoff()
        assert self._link is not None
        while not self._stopping.is_set():
            asked = self._register.wait(_FACTS_EVERY_S)
            self._register.clear()
            if self._stopping.is_set():
                return
            if not asked and self._facts.read() == self._registered:
                continue
            if self._register_now(self._link):
                backoff.reset()
            else:
                self._register.set()
                self._stopping.wait(backoff.next())

    def _register_now(self, link: Link) -> bool:
        facts = self._facts.read()
        try:
            link.register(facts)
        except (ClientError, OSError) as error:
            self._complain(str(error))
            self._register.set()
            return False
        self._registered = facts
        return True

    def _find(self, uid: str) -> tuple[str, Container] | None:
        return self._core.ask(lambda: self._core.executor.find(uid))


def credentials_of(site: Site) -> dict[str, RegistryCredentials]:
    """The site's logins by registry. Raises SiteError when a password cannot be read."""
    return {
        registry: RegistryCredentials(config.username, read_secret(config.password_file))
        for registry, config in site.registries.items()
    }


def run_agent(
    site: Site,
    server_url: str,
    token: str | None = None,
    *,
    node: str | None = None,
    host: PluginHost | None = None,
    ca: Path | None = None,
    labels: Mapping[str, str] | None = None,
) -> RunningAgent:
    """Start this machine's agent in threads; ``token`` is a join token (exchanged once) or the node's own.

    ``node`` defaults to the site's name for this machine. ``labels`` are added to the site's. Raises AgentError when
    the data directory cannot be used or another agent of this node runs, and SiteError.
    """
    host = host or PluginHost.discover(site.plugins)
    name = node or site.agent.name or socket.gethostname().split(".")[0].lower()
    settings = replace(site.agent, labels={**site.agent.labels, **(labels or {})})
    credentials = credentials_of(site)
    identity = Identity(site.data_dir, name)
    runtimes = {kind: host.runtimes[kind].create({}) for kind in sorted(host.runtimes)}
    agent = RunningAgent(
        name, server_url, token, identity, runtimes, settings,
        credentials=credentials, ca=ca, monitor=Monitor(PsutilHost(str(site.data_dir))),
    )  # fmt: skip
    agent.start()
    return agent
