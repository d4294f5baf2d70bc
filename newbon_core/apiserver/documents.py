"""Many documents at once: apply in one transaction, or plan what an apply would do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flask import Response, request
from marshmallow import Schema, fields

from newbon_core.apiserver.auth import allow, identity
from newbon_core.apiserver.context import context
from newbon_core.apiserver.describing import Blueprint, read_body, read_json, statuses
from newbon_core.apiserver.edits import commit
from newbon_core.apiserver.errors import Problem
from newbon_core.apiserver.lists import answer
from newbon_core.apiserver.planning import planned
from newbon_core.apiserver.typed import schema_of
from newbon_core.client.views import ApplyResultView, ApplyView, DifferenceView, PlanView
from newbon_core.schema import (
    Document,
    LoadResult,
    NodeSchema,
    ServiceSchema,
    load_documents,
    parse_documents,
)
from newbon_core.schema import (
    Problem as Fault,
)
from newbon_core.state import Changes
from newbon_core.state.apply import ApplyPlan, ApplyResult, UnknownNode, plan_apply

blueprint = Blueprint("documents", "What files of documents say, applied as one or only planned.")
YAML = ("application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml")


class DocumentsSchema(Schema):
    """Documents of any kind; they are applied as one transaction."""

    documents = fields.List(
        fields.Raw(
            metadata={"anyOf": [{"$ref": "#/components/schemas/Service"}, {"$ref": "#/components/schemas/Node"}]}
        ),
        required=True,
    )


class ApplyQuery(Schema):
    """How to apply."""

    dry_run = fields.Boolean(load_default=False, metadata={"description": "Tell what would change, and write nothing."})


BODY = {
    "required": True,
    "content": {
        "application/json": {"schema": DocumentsSchema},
        "application/yaml": {"schema": {"type": "string"}},
    },
}


@blueprint.route("/v1/documents", methods=["PUT"])
@allow("admin")
@statuses(409)
@blueprint.arguments(ApplyQuery, location="query")
@blueprint.doc(requestBody=BODY)
@blueprint.response(200, schema_of(ApplyView))
def apply_documents(query: Mapping[str, Any]) -> Response:
    """Apply documents: all of them, or none; what is so already stays untouched"""
    documents = read_documents()
    if query["dry_run"]:
        results = decided(documents).results
        return answer(ApplyView(results=[_result(one) for one in results], revision=0, dry_run=True))

    def decide() -> tuple[Changes, list[ApplyResult]]:
        plan = decided(documents)
        return plan.changes, plan.results

    results, revision = commit(decide)
    return answer(ApplyView(results=[_result(one) for one in results], revision=revision, dry_run=False))


@blueprint.route("/v1/plan", methods=["POST"])
@allow("viewer")
@blueprint.doc(requestBody=BODY)
@blueprint.response(200, schema_of(PlanView))
def plan_documents() -> Response:
    """Tell what an apply would change, where new instances would go, and which would go away"""
    plan = decided(read_documents())
    groups, removals = planned(context(), plan.services)
    return answer(PlanView(results=[_result(one) for one in plan.results], groups=groups, removals=removals))


def read_documents() -> list[Document]:
    """The documents in the request's body. Raises Problem 400, 415 and 422."""
    host = context().host
    if request.mimetype in YAML:
        loaded = load_documents(read_body(request), host, "request", limit=context().limits.documents_bytes)
    else:
        body = read_json(request)
        documents = body.get("documents") if isinstance(body, dict) else None
        if not isinstance(documents, list) or set(body) != {"documents"}:
            raise Problem(422, 'expected {"documents": [..]} and nothing else')
        loaded = parse_documents(documents, host)
    refuse(loaded)
    return loaded.documents


def refuse(loaded: LoadResult) -> None:
    """Raise Problem 422 with everything that is wrong, if anything is."""
    if loaded.ok:
        return
    first = str(loaded.problems[0])
    more = f", and {len(loaded.problems) - 1} more" if len(loaded.problems) > 1 else ""
    raise Problem(422, f"{first}{more}; nothing was changed", problems=[_fault(one) for one in loaded.problems])


def decided(documents: Sequence[Document]) -> ApplyPlan:
    """What applying these documents writes now. Raises Problem 422."""
    try:
        return plan_apply(context().cache, documents, context().now(), identity().who)
    except UnknownNode as error:
        raise Problem(422, str(error), problems=[{"path": "name", "message": str(error)}]) from None


def _fault(problem: Fault) -> dict[str, Any]:
    return {
        "source": problem.source,
        "document": problem.index,
        "path": problem.path,
        "value": problem.value,
        "message": problem.message,
        "nearest": problem.nearest,
        "kind": problem.kind,
        "name": problem.name,
        "line": problem.line,
    }


def _result(result: ApplyResult) -> ApplyResultView:
    found = [DifferenceView(path=one.path, old=one.old, new=one.new) for one in result.differences]
    return ApplyResultView(kind=result.kind, name=result.name, action=result.action, differences=found)


def register_kinds(spec: Any) -> None:
    """Name the schemas of all kinds in the description."""
    spec.components.schema("Service", schema=ServiceSchema)
    spec.components.schema("Node", schema=NodeSchema)
