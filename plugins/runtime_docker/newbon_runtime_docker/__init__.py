"""Newbon runtime: the Docker Engine, through its API."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from newbon_core.hooks import RuntimeType, hookimpl
from newbon_runtime_docker.options import ContainerOptions, OptionsSchema
from newbon_runtime_docker.runtime import DockerRuntime

__all__ = ["ContainerOptions", "DockerRuntime", "OptionsSchema", "newbon_configure", "newbon_runtimes"]

_options: dict[str, object] = {}


@hookimpl
def newbon_configure(options: dict[str, object]) -> None:
    """Keep the site's options for the runtimes that are created later."""
    _options.clear()
    _options.update(options)


def _create(options: Mapping[str, object]) -> DockerRuntime:
    return DockerRuntime({**_options, **options})


@hookimpl
def newbon_runtimes() -> Iterable[RuntimeType]:
    """One runtime: ``docker``."""
    return [
        RuntimeType(name="docker", create=_create, schema=OptionsSchema, container_schema=ContainerOptions),
    ]
