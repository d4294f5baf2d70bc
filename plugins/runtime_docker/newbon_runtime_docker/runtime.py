"""The Docker Engine as Newbon's Runtime: the SDK's low-level client, one per node, made when it is first needed."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import docker
from docker.errors import APIError, DockerException, NotFound

from newbon_core.hooks import (
    Container,
    ContainerOrder,
    RegistryCredentials,
    RuntimeEvent,
    RuntimeFailure,
)
from newbon_runtime_docker.convert import UID, container_name, container_of, create_body, is_ours
from newbon_runtime_docker.errors import away, engine_call
from newbon_runtime_docker.options import engine_url
from newbon_runtime_docker.pull import pull_image
from newbon_runtime_docker.streams import DockerExec, LogStream, hijack

_log = logging.getLogger(__name__)

CONNECTED = "connected"
"""Kind of the first event of every stream: look at all, for nothing is known of the time before."""
_EVENTS = ["die", "destroy", "start", "oom"]
_POOL_SIZE = 32


class DockerRuntime:
    """See ``newbon_core.hooks.Runtime``. Thread-safe. An engine that comes back is simply used again."""

    def __init__(self, options: Mapping[str, object]) -> None:
        self.url = engine_url(options)
        self._options = options
        timeout = options.get("timeout_s", 60.0)
        self._timeout_s = float(timeout) if isinstance(timeout, int | float) else 60.0
        self._client: docker.APIClient | None = None
        self._known: dict[str, Container] = {}
        self._started: set[str] = set()
        self._streams: set[Any] = set()
        self._lock = threading.Lock()

    def _api(self) -> docker.APIClient:
        """The client; making it asks the engine for its API version, so that needs an engine that answers."""
        with self._lock:
            if self._client is None:
                try:
                    self._client = docker.APIClient(
                        base_url=self.url, timeout=math.ceil(self._timeout_s), max_pool_size=_POOL_SIZE
                    )
                except DockerException as error:
                    raise away(self.url, error) from error
            return self._client

    def version(self) -> str:
        """The engine's version, such as ``20.10.24``."""
        with engine_call("version", self.url):
            answer: Mapping[str, str] = self._api().version()
        return answer["Version"].split("+")[0]

    # --- containers ---------------------------------------------------------------------------------------------------

    def list(self) -> Sequence[Container]:
        """One request, and one more for each container whose state is not the one last inspected."""
        with engine_call("list of containers", self.url):
            found = self._api().containers(all=True, filters={"label": UID})
        listed: list[Container] = []
        for entry in found:
            known = self._known.get(entry["Id"])
            if known is not None and known.state == entry["State"] and known.state in ("running", "exited"):
                listed.append(known)
            elif is_ours(entry.get("Labels")) and (container := self.inspect(entry["Id"])) is not None:
                listed.append(container)
        present = {entry["Id"] for entry in found}
        for container_id in [known for known in list_of(self._known) if known not in present]:
            self._known.pop(container_id, None)
        return listed

    def inspect(self, container_id: str) -> Container | None:
        """One of ours, freshly."""
        self._known.pop(container_id, None)
        with engine_call(f"container {container_id[:12]}", self.url):
            try:
                inspected = self._api().inspect_container(container_id)
            except NotFound:
                return None
        if not is_ours(inspected["Config"]["Labels"]):
            return None
        container = container_of(inspected)
        self._known[container.id] = container
        return container

    def start(self, order: ContainerOrder, image_id: str) -> Container:
        """Create, unless one of this uid exists; start, unless it ever ran. What cannot start is not left behind."""
        container = self._create(order, image_id)
        if container.state != "created":
            return container
        try:
            with engine_call(f"start of {order.instance}", self.url):
                self._started.add(container.id)
                self._api().start(container.id)
        except RuntimeFailure:
            self._started.discard(container.id)
            self._discard(container.id)
            raise
        started = self.inspect(container.id)
        if started is None:
            raise RuntimeFailure(f"container of {order.instance} was removed while it was started")
        return started

    def _create(self, order: ContainerOrder, image_id: str) -> Container:
        names = (container_name(order), container_name(order, long=True))
        body = create_body(order, image_id, self._options)
        for name in names:
            made = self._create_named(name, body, order)
            if made is not None:
                return Container(
                    id=made, uid=order.uid, instance=order.instance, service=order.service,
                    revision=order.revision, state="created", node=order.node, owner=order.owner, image_id=image_id,
                )  # fmt: skip
            existing = self.inspect(name)
            if existing is not None and existing.uid == order.uid:
                return existing
        raise RuntimeFailure(f"container names {names[0]} and {names[1]} are taken by containers that are not Newbon's")

    def _create_named(self, name: str, body: dict[str, Any], order: ContainerOrder) -> str | None:
        """The new container's id; None where the name is taken."""
        with engine_call(f"creation of {order.instance}", self.url):
            try:
                made: Mapping[str, str] = self._api().create_container_from_config(body, name=name)  # type: ignore[no-untyped-call,unused-ignore]  # SDK
            except NotFound as error:
                if "no such image" not in str(error.explanation).lower():
                    raise
                raise RuntimeFailure(f"image {order.spec.image} is not on this node any more", retry=True) from error
            except APIError as error:
                if error.status_code != 409:
                    raise
                return None
        return made["Id"]

    def _discard(self, container_id: str) -> None:
        """Remove what could not be started, unless it runs after all."""
        try:
            container = self.inspect(container_id)
            if container is not None and container.state == "created":
                self.remove(container_id)
        except RuntimeFailure as failure:
            # The next listing finds it as created, and the executor decides anew.
            _log.warning("a container that did not start is left for later: %s", failure)

    def stop(self, container_id: str, grace_s: float) -> Container | None:
        """The engine sends the stop signal and waits; no signal is sent to one that has ended."""
        with engine_call(f"stop of container {container_id[:12]}", self.url):
            try:
                self._api().stop(container_id, timeout=math.ceil(grace_s))
            except NotFound:
                return None
        return self.inspect(container_id)

    def remove(self, container_id: str) -> None:
        """With its anonymous volumes."""
        with engine_call(f"removal of container {container_id[:12]}", self.url):
            try:
                self._api().remove_container(container_id, v=True)
            except NotFound:
                pass
            except APIError as error:
                if "already in progress" not in str(error.explanation):
                    raise
        self._known.pop(container_id, None)

    # --- images -------------------------------------------------------------------------------------------------------

    def has_image(self, image: str) -> str | None:
        """Asks the engine only, never a registry."""
        with engine_call(f"image {image}", self.url):
            try:
                found: Mapping[str, str] = self._api().inspect_image(image)  # type: ignore[no-untyped-call,unused-ignore]  # SDK
            except NotFound:
                return None
        return found["Id"]

    def pull(self, image: str, credentials: RegistryCredentials | None, progress: Callable[[str], None]) -> str:
        """From its registry."""
        with engine_call(f"pull of {image}", self.url):
            pull_image(self._api(), image, credentials, progress)
        found = self.has_image(image)
        if found is None:
            raise RuntimeFailure(f"image {image} was pulled but is not on this node", retry=True)
        return found

    # --- streams ------------------------------------------------------------------------------------------------------

    def logs(
        self, container_id: str, *, follow: bool, tail: int | None, since: float | None, timestamps: bool
    ) -> Iterator[bytes]:
        """Both streams in the order that the engine has them; ``close`` may be called from another thread."""
        api = self._api()
        params: dict[str, Any] = {
            "stdout": 1, "stderr": 1, "follow": int(follow), "timestamps": int(timestamps),
            "tail": "all" if tail is None else tail,
        }  # fmt: skip
        if since is not None:
            params["since"] = f"{since:.9f}"
        with engine_call(f"logs of container {container_id[:12]}", self.url):
            response = api.get(
                f"{api.base_url}/v{api.api_version}/containers/{container_id}/logs",
                params=params, stream=True, timeout=(self._timeout_s, None),
            )  # fmt: skip
            if response.status_code == 404:
                response.close()
                raise RuntimeFailure(f"container {container_id[:12]} is gone, and its logs with it")
            response.raise_for_status()
        return LogStream(response, self.url)

    def exec(
        self, container_id: str, command: Sequence[str], *, tty: bool, stdin: bool, rows: int, columns: int
    ) -> DockerExec:
        """Over a connection of its own."""
        api = self._api()
        with engine_call(f"command in container {container_id[:12]}", self.url):
            made = api.exec_create(container_id, list_of(command), stdin=stdin, tty=tty)
            connection, rest = hijack(
                self.url, f"/v{api.api_version}/exec/{made['Id']}/start", {"Detach": False, "Tty": tty}, self._timeout_s
            )
        session = DockerExec(api, made["Id"], connection, rest, tty=tty, url=self.url)
        if tty:
            session.resize(rows, columns)
        return session

    def events(self) -> Iterator[RuntimeEvent]:
        """Begins with one that says to look at all; from then on nothing is missed until it ends."""
        with engine_call("events", self.url):
            stream = self._api().events(decode=True, filters={"type": ["container"], "label": [UID], "event": _EVENTS})
        with self._lock:
            self._streams.add(stream)
        self._started.clear()
        try:
            yield RuntimeEvent(None, CONNECTED)
            for event in stream:
                container_id, kind = str(event["Actor"]["ID"]), str(event["Action"])
                if self._is_own_start(container_id, kind):
                    continue
                self._known.pop(container_id, None)
                yield RuntimeEvent(container_id, kind)
        except Exception as error:  # noqa: BLE001  urllib3 and requests fail in many ways when the engine dies: all mean the end
            _log.debug("event stream of %s ended: %s", self.url, error)
        finally:
            self._known.clear()
            with self._lock:
                self._streams.discard(stream)
            stream.close()

    def _is_own_start(self, container_id: str, kind: str) -> bool:
        """True for the event of a start of ours that has not failed: that one ends with a look of its own."""
        own = container_id in self._started
        self._started.discard(container_id)
        return own and kind == "start"

    def close(self) -> None:
        """End the event streams and drop the connections."""
        with self._lock:
            streams, client = list_of(self._streams), self._client
            self._client = None
        for stream in streams:
            stream.close()
        if client is not None:
            client.close()


def list_of(items: Any) -> Any:
    """A list of it; inside the class ``list`` is a method."""
    return [*items]
