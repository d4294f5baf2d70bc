"""Options: of the site for the engine, and of a service for its containers."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from marshmallow import Schema, ValidationError, fields, validate

DEFAULT_URL = "unix:///var/run/docker.sock"
_SIZE = re.compile(r"[1-9][0-9]*[kmg]?")
_UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}


def _is_size(value: str) -> None:
    if not _SIZE.fullmatch(value):
        raise ValidationError(f"{value!r} is not a size; write bytes or with a unit, such as 512k, 10m or 1g")


def _is_url(value: str) -> None:
    if not value.startswith(("unix:///", "tcp://", "http://")):
        raise ValidationError(f"{value!r} is not an engine's URL; write unix:///path/to.sock or tcp://host:port")


def size_bytes(text: str) -> int:
    """Bytes of a size that was validated: ``64m`` is 67108864."""
    unit = text[-1] if text[-1] in "kmg" else ""
    return int(text.removesuffix(unit)) * _UNITS[unit]


class OptionsSchema(Schema):
    """``[plugins.runtime_docker]`` in the site's file."""

    base_url = fields.String(
        validate=_is_url,
        metadata={"description": "the engine; default: environment DOCKER_HOST, else unix:///var/run/docker.sock"},
    )
    timeout_s = fields.Float(
        validate=validate.Range(min=1.0),
        metadata={"description": "how long one call of the engine's API may take; default 60"},
    )
    log_max_size = fields.String(
        validate=_is_size, metadata={"description": "size at which a container's log starts anew; default 10m"}
    )
    log_max_files = fields.Integer(
        validate=validate.Range(min=1, max=100), metadata={"description": "log files kept per container; default 2"}
    )


class ContainerOptions(Schema):
    """``runtime_options`` of a service."""

    log_max_size = fields.String(validate=_is_size)
    log_max_files = fields.Integer(validate=validate.Range(min=1, max=100))
    shm_size = fields.String(
        validate=_is_size, metadata={"description": "size of /dev/shm; the engine's default is 64m"}
    )
    sysctls = fields.Dict(keys=fields.String(), values=fields.String())
    extra_hosts = fields.Dict(
        keys=fields.String(),
        values=fields.String(),
        metadata={"description": "further names in /etc/hosts: name: address"},
    )
    init = fields.Boolean(
        metadata={"description": "run a small init as the first process, which reaps and forwards signals"}
    )
    pids_limit = fields.Integer(validate=validate.Range(min=1))
    network_mode = fields.String(
        validate=validate.OneOf(["bridge", "host", "none"]), metadata={"description": "default bridge"}
    )
    allow_new_privileges = fields.Boolean(metadata={"description": "default false: setuid programs gain nothing"})


def engine_url(options: Mapping[str, object]) -> str:
    """Where the engine is: the explicit option, else DOCKER_HOST, else the usual socket."""
    explicit = options.get("base_url")
    return str(explicit) if explicit else os.environ.get("DOCKER_HOST") or DEFAULT_URL
