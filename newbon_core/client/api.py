"""The API as people and their programs use it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import quote

from newbon_core.client.errors import ApiProblem
from newbon_core.client.sessions import ExecSession
from newbon_core.client.transport import Transport
from newbon_core.client.views import (
    ApplyView,
    EventView,
    ExplainView,
    InstanceView,
    Json,
    NodeView,
    PlanView,
    PluginView,
    RevisionView,
    ServiceView,
    TokenView,
)
from newbon_core.client.watch import Watch

Documents = Sequence[Mapping[str, object]] | str | bytes
"""Documents as dicts, or the text of a YAML or JSON file."""

Explainable = Literal["service", "instance"]
Deletable = Literal["service", "instance", "node"]
_FOLDERS: Mapping[str, str] = {"service": "services", "instance": "instances", "node": "nodes"}
_PAGE = 5000
T = TypeVar("T")


class Client:
    """One API server. Every method raises ApiProblem or ServerUnreachable. Safe to use from many threads.

    ``url`` is like ``https://newbon.example:7800``; ``ca`` is a PEM file that its certificate must be signed by
    (None: the system's). Selectors are written ``a=b,c!=d,e in (x,y),f,!g``. Lists are whole: pages are joined.
    """

    def __init__(self, url: str, token: str | None, *, ca: Path | None = None, timeout_s: float = 30.0) -> None:
        self._transport = Transport(url, token, ca=ca, timeout_s=timeout_s)

    def close(self) -> None:
        """Drop idle connections."""
        self._transport.close()

    # --- services ---

    def services(self, selector: str | None = None) -> list[ServiceView]:
        """All services, sorted by name."""
        return self._list(ServiceView, "/v1/services", {"selector": selector})

    def service(self, name: str) -> ServiceView:
        """One service; ApiProblem 404 when there is none."""
        return self._get(ServiceView, "services", name)

    def apply(self, documents: Documents, *, dry_run: bool = False) -> ApplyView:
        """Write all documents in one transaction, or none. ``problems`` of ApiProblem 422 lists every fault."""
        answer: ApplyView = self._documents("PUT", "/v1/documents", documents, {"dry_run": "true"} if dry_run else None)
        return answer

    def plan(self, documents: Documents) -> PlanView:
        """What apply would do: fields that change, where new instances would go, which instances would go away."""
        answer: PlanView = self._documents("POST", "/v1/plan", documents, None)
        return answer

    def scale(self, name: str, replicas: int) -> ServiceView:
        """Set a service's number of replicas."""
        path = f"{_path('services', name)}/replicas"
        answer: ServiceView = self._transport.call("PUT", path, body={"replicas": replicas})
        return answer

    def revisions(self, service: str | None = None) -> list[RevisionView]:
        """The versions of one service (or all), the present one included, oldest first."""
        return self._list(RevisionView, "/v1/revisions", {"service": service})

    # --- instances ---

    def instances(
        self, service: str | None = None, selector: str | None = None, node: str | None = None
    ) -> list[InstanceView]:
        """Instances, sorted by service and number. The selector is over the labels of their services."""
        return self._list(InstanceView, "/v1/instances", {"service": service, "selector": selector, "node": node})

    def instance(self, name: str) -> InstanceView:
        """One instance; ApiProblem 404 when there is none."""
        return self._get(InstanceView, "instances", name)

    def explain(self, kind: Explainable, name: str) -> ExplainView:
        """Why an instance is where it is, or where the next one of a service would go: per node what each said."""
        answer: ExplainView = self._transport.call("GET", f"{_path(_FOLDERS[kind], name)}/explain")
        return answer

    def logs(
        self,
        instance: str,
        *,
        follow: bool = False,
        tail: int | None = None,
        since: float | None = None,
        timestamps: bool = False,
    ) -> Iterator[bytes]:
        """A container's output, piece by piece (not line by line). ``since`` is seconds since the epoch.

        Raises ApiProblem also when the stream ends with an error half-way.
        """
        params = _params({"tail": tail, "since": since, "follow": follow or None, "timestamps": timestamps or None})
        body = self._transport.open("GET", f"{_path('instances', instance)}/logs", params=params, silence_s=None)
        try:
            yield from body
        finally:
            body.close()
        stream = body.headers.get("X-Newbon-Stream")
        end = self._transport.call("GET", f"/v1/streams/{quote(stream, safe='')}") if stream else None
        if end is not None and end.get("error"):
            raise ApiProblem(410, "the log was cut off", end["error"])

    def exec(
        self,
        instance: str,
        command: Sequence[str],
        *,
        tty: bool = False,
        stdin: bool = False,
        rows: int = 24,
        columns: int = 80,
    ) -> ExecSession:
        """Start a command in a running instance."""
        body = {"command": list(command), "tty": tty, "stdin": stdin, "rows": rows, "columns": columns}
        answer = self._transport.call("POST", f"{_path('instances', instance)}/exec", body=body)
        return ExecSession(self._transport, str(answer["id"]))

    # --- nodes ---

    def nodes(self, selector: str | None = None) -> list[NodeView]:
        """All nodes, sorted by name."""
        return self._list(NodeView, "/v1/nodes", {"selector": selector})

    def node(self, name: str) -> NodeView:
        """One node; ApiProblem 404 when there is none."""
        return self._get(NodeView, "nodes", name)

    def cordon(self, name: str, cordoned: bool) -> NodeView:
        """Keep new instances off a node, or let them on it again."""
        return self.node_patch(name, cordoned=cordoned)

    def node_patch(
        self,
        name: str,
        *,
        labels: Mapping[str, str | None] | None = None,
        taints: Sequence[Mapping[str, str]] | None = None,
        cordoned: bool | None = None,
    ) -> NodeView:
        """Change what is given. ``labels`` are merged over the operator's (None removes one); ``taints`` replace."""
        body: dict[str, Any] = {}
        if labels is not None:
            body["labels"] = dict(labels)
        if taints is not None:
            body["taints"] = [dict(taint) for taint in taints]
        if cordoned is not None:
            body["cordoned"] = cordoned
        answer: NodeView = self._transport.call("PATCH", _path("nodes", name), body=body)
        return answer

    # --- anything ---

    def delete(self, kind: Deletable, name: str) -> None:
        """A service with its instances; an instance (it is replaced); a node that is lost or empty."""
        self._transport.call("DELETE", _path(_FOLDERS[kind], name))

    def watch(
        self,
        path: str,
        revision: int | None = None,
        *,
        params: Mapping[str, str] | None = None,
        give_up_s: float | None = None,
    ) -> Watch:
        """Follow ``/v1/services``, ``/v1/instances``, ``/v1/nodes``, ``/v1/revisions`` or ``/v1/events`` (see Watch).

        Without ``revision`` it begins with what is there; ``params`` are those of the list (selector, service, …).
        """
        return Watch(self._transport, path, revision, params or {}, give_up_s)

    def events(
        self,
        *,
        kind: str | None = None,
        name: str | None = None,
        service: str | None = None,
        node: str | None = None,
        level: str | None = None,
        since: float | None = None,
        limit: int | None = None,
    ) -> list[EventView]:
        """What happened, oldest first; ``limit`` keeps the newest. The fields select events that have that value."""
        wanted = {"kind": kind, "name": name, "service": service, "node": node, "level": level, "since": since}
        params = _params(wanted | {"limit": min(limit or _PAGE, _PAGE), "newest": "true"})
        answer = self._transport.call("GET", "/v1/events", params=params)
        items: list[EventView] = answer["items"]
        return items

    # --- the site ---

    def tokens(self) -> list[TokenView]:
        """All tokens, without secrets."""
        return self._list(TokenView, "/v1/tokens", {})

    def create_token(
        self,
        role: Literal["admin", "viewer", "agent", "join"],
        *,
        node: str | None = None,
        description: str = "",
        expires_at: float | None = None,
    ) -> TokenView:
        """A new token; its secret is in ``token`` of the answer and nowhere else. An agent's token needs ``node``."""
        body = {"role": role, "node": node, "description": description, "expires_at": expires_at}
        answer: TokenView = self._transport.call("POST", "/v1/tokens", body=body)
        return answer

    def delete_token(self, name: str) -> None:
        """End a token at once; ``name`` is the part before the dot."""
        self._transport.call("DELETE", _path("tokens", name))

    def plugins(self) -> list[PluginView]:
        """The server's plugins, also those that do not take part, with the reason."""
        return self._list(PluginView, "/v1/plugins", {})

    def ready(self) -> Json:
        """{"ready": bool, "reasons": [..]}; does not raise for a server that is not ready."""
        try:
            answer: Json = self._transport.call("GET", "/readyz")
        except ApiProblem as problem:
            if problem.status != 503:
                raise
            return {"ready": False, "reasons": [entry.get("message", "") for entry in problem.problems]}
        return answer

    # --- shared ---

    def _get(self, kind: type[T], folder: str, name: str) -> T:  # noqa: ARG002 - only tells the answer's type
        answer: T = self._transport.call("GET", _path(folder, name))
        return answer

    def _list(self, kind: type[T], path: str, wanted: Mapping[str, object]) -> list[T]:  # noqa: ARG002 - as above
        params = _params({**wanted, "limit": _PAGE})
        items: list[T] = []
        while True:
            answer = self._transport.call("GET", path, params=params)
            items += answer["items"]
            if not answer.get("continue"):
                return items
            params["continue"] = answer["continue"]

    def _documents(self, method: str, path: str, documents: Documents, params: Mapping[str, str] | None) -> Any:
        if isinstance(documents, str | bytes):
            raw = documents.encode() if isinstance(documents, str) else documents
            return self._transport.call(method, path, params=params, raw=raw, content_type="application/yaml")
        return self._transport.call(method, path, params=params, body={"documents": list(documents)})


def _path(folder: str, name: str) -> str:
    return f"/v1/{folder}/{quote(name, safe='')}"


def _params(wanted: Mapping[str, object]) -> dict[str, str]:
    texts = {True: "true", False: "false"}
    return {
        key: texts[value] if isinstance(value, bool) else str(value)
        for key, value in wanted.items()
        if value is not None
    }
