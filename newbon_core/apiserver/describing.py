"""flask-smorest, set up for this API: strict requests, problems as errors, a description that names every status."""

from __future__ import annotations

import http
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn, TypeVar

import flask_smorest
import msgspec
from flask import Request
from marshmallow import RAISE, Schema, fields
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from newbon_core.apiserver import errors
from newbon_core.apiserver.auth import allow
from newbon_core.apiserver.errors import Problem
from newbon_core.schema.problems import nearest

View = TypeVar("View", bound=Callable[..., Any])
_STATUSES = "newbon_statuses"
ALWAYS = (400, 401, 403, 413, 414, 429, 503)
"""What any request can be answered with: not HTTP, no or a wrong token, too little rights, headers or an address too
long, too many failures, no store."""


class ProblemEntrySchema(Schema):
    """One thing that is wrong: where, what, and the nearest right name."""

    source = fields.String(metadata={"description": "Which input."})
    document = fields.Integer(allow_none=True, metadata={"description": "Which document of it, from 0."})
    path = fields.String(metadata={"description": "The place in the document or the request."})
    value = fields.String(allow_none=True, metadata={"description": "What is there, shortened."})
    message = fields.String(required=True, metadata={"description": "What was expected."})
    nearest = fields.String(allow_none=True, metadata={"description": "The nearest right name."})
    kind = fields.String(allow_none=True, metadata={"description": "The document's kind."})
    name = fields.String(allow_none=True, metadata={"description": "The document's name."})
    line = fields.Integer(allow_none=True, metadata={"description": "The line of a text, from 1."})


class ProblemSchema(Schema):
    """Why a request was refused (RFC 9457)."""

    type = fields.String(required=True)
    title = fields.String(required=True)
    status = fields.Integer(required=True)
    detail = fields.String(required=True, metadata={"description": "One sentence."})
    instance = fields.String(metadata={"description": "The path of the request."})
    problems = fields.List(fields.Nested(ProblemEntrySchema), metadata={"description": "All single faults."})
    id = fields.String(metadata={"description": "For an error of the server: where its log tells more."})


def statuses(*numbers: int) -> Callable[[View], View]:
    """Note on a view which refusals it knows beside those that every view has."""

    def mark(view: View) -> View:
        setattr(view, _STATUSES, numbers)
        return view

    return mark


class Parser(FlaskParser):
    """Reads requests strictly: unknown names are errors, and what is not JSON says so."""

    DEFAULT_UNKNOWN_BY_LOCATION = FlaskParser.DEFAULT_UNKNOWN_BY_LOCATION | {"json": RAISE, "query": RAISE}

    def load_json(self, req: Request, schema: Schema) -> Any:
        """The body, for webargs."""
        del schema
        return read_json(req)

    def handle_error(
        self, error: Any, req: Any, schema: Schema, *, error_status_code: int | None, error_headers: Any
    ) -> NoReturn:
        """Turn what marshmallow found into a Problem 422."""
        del req, error_status_code, error_headers
        names = [one.data_key or name for name, one in schema.fields.items()]
        found = list(_flat(error.messages))
        problems = []
        for path, message in found:
            near = nearest(path, names) if message == "Unknown field." else None
            hint = f"; did you mean {near}?" if near is not None else ""
            problems.append({"path": path, "message": f"{_LOWER.get(message, message)}{hint}", "nearest": near})
        detail = "; ".join(
            f"{one['path']}: {one['message']}" if one["path"] else str(one["message"]) for one in problems
        )
        raise Problem(422, detail, problems=problems)


_LOWER: Mapping[str, str] = {"Unknown field.": "is not known here"}


def _flat(messages: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(messages, Mapping):
        for key, below in messages.items():
            inner = path if key in ("_schema", "json", "query") else f"{path}.{key}" if path else str(key)
            yield from _flat(below, inner)
    elif isinstance(messages, list | tuple):
        for one in messages:
            yield from _flat(one, path)
    else:
        yield path, str(messages)


def read_body(asked: Request) -> bytes:
    """The whole body, never a part of it. Raises Problem 400 when it was cut off, and RequestEntityTooLarge."""
    data: bytes = asked.get_data(cache=False)
    expected = asked.content_length
    if expected is None:
        # werkzeug cuts a body without a length at the limit and says nothing.
        if asked.max_content_length is not None and len(data) >= asked.max_content_length:
            raise RequestEntityTooLarge
    elif len(data) != expected:
        raise Problem(400, f"the body was cut off after {len(data)} of {expected} bytes")
    return data


def read_json(asked: Request) -> Any:
    """The body as plain values. Raises Problem 415 and 400; sizes were checked before (413)."""
    if asked.mimetype != "application/json":
        raise Problem(415, f"expected a body of type application/json, not {asked.mimetype[:100] or 'none'}")
    try:
        return msgspec.json.decode(read_body(asked))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Problem(400, f"the body is not JSON: {error}") from None
    except RecursionError:
        raise Problem(400, "the body is nested too deeply") from None


class Blueprint(flask_smorest.Blueprint):  # type: ignore[misc]  # flask_smorest has no types
    """A resource's views. Every operation is described with every status that it can answer."""

    ARGUMENTS_PARSER = Parser()

    def __init__(self, name: str, description: str) -> None:
        super().__init__(name, f"newbon_core.apiserver.{name}", description=description)
        self._prepare_doc_cbks.append(self._prepare_problems_doc)

    # flask-smorest's decorators, with types that keep those of the view.

    def route(self, rule: str, **options: Any) -> Callable[[View], View]:
        """Serve a view under a path."""
        made: Callable[[View], View] = super().route(rule, **options)
        return made

    def arguments(self, schema: Any, **options: Any) -> Callable[[View], View]:
        """Read and check the body (or ``location``) and pass it as the first argument."""
        made: Callable[[View], View] = super().arguments(schema, **options)
        return made

    def response(self, status_code: int, schema: Any = None, **options: Any) -> Callable[[View], View]:
        """Describe the usual answer."""
        made: Callable[[View], View] = super().response(status_code, schema, **options)
        return made

    def alt_response(self, status_code: int, response: Any = None, **options: Any) -> Callable[[View], View]:
        """Describe another answer."""
        made: Callable[[View], View] = super().alt_response(status_code, response, **options)
        return made

    @staticmethod
    def doc(**operation: Any) -> Callable[[View], View]:
        """Describe anything else of the operation."""
        made: Callable[[View], View] = flask_smorest.Blueprint.doc(**operation)
        return made

    def _store_endpoint_docs(self, endpoint: str, obj: Any, parameters: Any, tags: Any, **options: Any) -> None:
        super()._store_endpoint_docs(endpoint, obj, parameters, tags, **options)
        for method, doc in self._docs[endpoint].items():
            if method != "parameters":
                doc["newbon"] = {"statuses": getattr(obj, _STATUSES, ()), "name": obj.__name__}

    @staticmethod
    def _prepare_problems_doc(doc: Any, info: Any, **kwargs: Any) -> Any:
        del kwargs
        mine = info.pop("newbon", {"statuses": (), "name": ""})
        responses = doc.setdefault("responses", {})
        responses.pop("default", None)
        known = {*ALWAYS, *mine["statuses"]}
        if "requestBody" in doc or "requestBody" in info.get("manual_doc", {}):
            known |= {415, 422}
        if any(one.get("in") == "query" for one in doc.get("parameters", ()) if isinstance(one, Mapping)):
            known.add(422)
        for key in list(responses):
            if str(key) == "422":
                del responses[key]
                known.add(422)
        for status in sorted(known):
            responses[str(status)] = {
                "description": http.HTTPStatus(status).phrase,
                "content": {errors.CONTENT_TYPE: {"schema": ProblemSchema}},
            }
        doc["operationId"] = mine["name"]
        return doc


class Api(flask_smorest.Api):  # type: ignore[misc]  # flask_smorest has no types
    """The description, and problems instead of flask-smorest's own errors."""

    def handle_http_exception(self, error: HTTPException) -> Any:
        """A problem."""
        return errors.on_http(error)

    @allow("viewer")
    def _openapi_json(self) -> Any:
        response = super()._openapi_json()
        response.headers["Cache-Control"] = "no-store"
        return response
