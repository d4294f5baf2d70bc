"""The parts of a Service document that describe its behaviour: schedule, restart, update."""

from __future__ import annotations

from typing import Any

from marshmallow import ValidationError

from newbon_core.model import (
    Affinity,
    Restart,
    Schedule,
    Toleration,
    Update,
)
from newbon_core.schema import grammar
from newbon_core.schema.fields import (
    Decimal,
    Duration,
    Flag,
    Items,
    Part,
    Strict,
    Text,
    Whole,
    Word,
    meta,
    twice,
)
from newbon_core.schema.grammar import MAX_REPLICAS, one_of

DAY_MS = 86_400_000
_RESTART = Restart()


class TolerationSchema(Strict):
    """A taint that the service accepts."""

    key = Word(
        grammar.check_label_key,
        "the key of a taint",
        required=True,
        metadata=meta("The taint's key.", example="dedicated"),
    )
    value = Word(
        grammar.check_label_value,
        "the value of a taint",
        metadata=meta("The taint's value. Not given: any value of the key.", example="batch"),
    )

    def make(self, data: dict[str, Any]) -> Toleration:
        return Toleration(**data)


class AffinitySchema(Strict):
    """Be, or do not be, where another service (or this one) is."""

    service = Word(
        grammar.check_service_name,
        "the name of a service",
        required=True,
        metadata=meta("The service to be near to, or away from.", example="cache"),
    )
    topology = Word(
        grammar.check_label_key,
        "a label key, or node",
        metadata=meta("Within what: a label of nodes, or node itself.", default="node", example="zone"),
    )
    anti = Flag(metadata=meta("Away from it instead of near to it.", default=False, example=True))

    def make(self, data: dict[str, Any]) -> Affinity:
        return Affinity(**data)


class ScheduleSchema(Strict):
    """Where instances may and should go."""

    constraints = Items(
        Text("an expression such as node.labels.disk == ssd", limit=1024),
        "a list of expressions such as node.labels.disk == ssd",
        most=100,
        unique=True,
        metadata=meta("All of them must hold on a node.", default=[], example=["node.labels.disk == ssd"]),
    )
    tolerations = Items(
        Part(TolerationSchema), "a list of tolerations", most=100, unique=True, metadata=meta("Taints it accepts.", [])
    )
    affinity = Items(
        Part(AffinitySchema),
        "a list of affinities",
        most=100,
        unique=True,
        metadata=meta("Near to or away from whom.", []),
    )
    spread = Items(
        Word(grammar.check_label_key, "a label key, or node"),
        "a list of label keys, or node",
        most=16,
        unique=True,
        metadata=meta(
            "Spread evenly over these labels, the first weighs most; [] does not spread.", ["node"], ["zone", "node"]
        ),
    )
    priority = Whole(0, 1000, metadata=meta("Among what waits for a place, higher goes first.", default=50, example=80))
    max_per_node = Whole(
        0,
        MAX_REPLICAS,
        metadata=meta("Instances of this service on one node at most; 0 is no limit.", default=0, example=1),
    )

    def check(self, data: dict[str, Any]) -> None:
        errors = twice(
            data.get("affinity", ()),
            lambda a: (a.service, a.topology),
            "anti",
            "contradicts the same service and topology",
        )
        if errors:
            raise ValidationError({"affinity": errors})

    def make(self, data: dict[str, Any]) -> Schedule:
        return Schedule(**data)


class RestartSchema(Strict):
    """When an instance that has finished is replaced."""

    policy = Word(
        one_of(("always", "on-failure", "never")),
        "always, on-failure or never",
        metadata=meta(
            "Replace it always, only after a failure, or never.",
            default="always",
            example="on-failure",
            enum=["always", "on-failure", "never"],
        ),
    )
    backoff = Duration(100, DAY_MS, metadata=meta("How long the first replacement waits; at least 100ms.", "1s", "5s"))
    factor = Decimal(1, 100, metadata=meta("Each failure in a row waits so many times longer.", default=2, example=1.5))
    max_backoff = Duration(100, DAY_MS, metadata=meta("The longest wait.", "5m", "1m"))
    reset_after = Duration(1000, DAY_MS, metadata=meta("After running so long, failures count anew.", "5m", "10m"))

    def check(self, data: dict[str, Any]) -> None:
        if data.get("max_backoff", _RESTART.max_backoff_s) < data.get("backoff", _RESTART.backoff_s):
            raise ValidationError({"max_backoff" if "max_backoff" in data else "backoff": [
                "expected max_backoff (default 5m) to be no shorter than backoff (default 1s)"
            ]})  # fmt: skip

    def make(self, data: dict[str, Any]) -> Restart:
        spelt = {"backoff": "backoff_s", "max_backoff": "max_backoff_s", "reset_after": "reset_after_s"}
        return Restart(**{spelt.get(key, key): value for key, value in data.items()})


class UpdateSchema(Strict):
    """How instances of an older revision are replaced."""

    parallelism = Whole(1, MAX_REPLICAS, metadata=meta("So many at a time.", default=1, example=2))
    order = Word(
        one_of(("start-first", "stop-first")),
        "start-first or stop-first",
        metadata=meta(
            "Start the new one before the old one stops, or after.",
            default="start-first",
            example="stop-first",
            enum=["start-first", "stop-first"],
        ),
    )

    def make(self, data: dict[str, Any]) -> Update:
        return Update(**data)
