"""Pulling an image, told in short sentences."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import docker
from docker.errors import APIError, NotFound
from docker.utils import parse_repository_tag

from newbon_core.hooks import RegistryCredentials, RuntimeFailure
from newbon_runtime_docker.errors import explanation_of, may_pass

_TELL_EVERY_S = 1.0
_MEBIBYTE = 1024 * 1024
_REFUSED = ("unauthorized", "authentication required", "denied", "no basic auth credentials")


def pull_image(
    api: docker.APIClient, image: str, credentials: RegistryCredentials | None, progress: Callable[[str], None]
) -> None:
    """Pull, or raise RuntimeFailure with the reason."""
    if image.startswith("sha256:"):
        raise RuntimeFailure(f"image {image} is not on this node, and an image id alone cannot be pulled")
    repository, tag = parse_repository_tag(image)
    auth = {"username": credentials.username, "password": credentials.password} if credentials is not None else None
    try:
        lines = api.pull(repository, tag=tag or "latest", stream=True, decode=True, auth_config=auth)
        follow(image, lines, progress)
    except (NotFound, APIError) as error:
        raise pull_failure(image, explanation_of(error), credentials is not None) from error


def follow(image: str, lines: Iterable[Mapping[str, Any]], progress: Callable[[str], None]) -> None:
    """Read the engine's progress to its end, telling at most once a second. Raises RuntimeFailure."""
    layers: dict[str, bool] = {}
    received: dict[str, int] = {}
    told_at = 0.0
    for line in lines:
        if "error" in line:
            raise pull_failure(image, " ".join(str(line["error"]).split()), had_credentials=False)
        layer, status = line.get("id"), line.get("status", "")
        if layer is None or status.startswith("Pulling from"):
            continue
        layers[layer] = status in ("Pull complete", "Already exists")
        if status == "Downloading":
            received[layer] = int((line.get("progressDetail") or {}).get("current") or 0)
        now = time.monotonic()
        if now - told_at >= _TELL_EVERY_S:
            told_at = now
            done = sum(layers.values())
            amount = sum(received.values()) // _MEBIBYTE
            progress(f"pulling {image}: {done} of {len(layers)} layers, {amount} MiB received")


def pull_failure(image: str, reason: str, had_credentials: bool) -> RuntimeFailure:
    """Which of the three it was: not there, not allowed, or not reachable."""
    lowered = reason.lower()
    if may_pass(reason):
        return RuntimeFailure(
            f"image {image} is not on this node and its registry does not answer: {reason}", retry=True
        )
    if any(sign in lowered for sign in _REFUSED):
        hint = "the registry refused the credentials" if had_credentials else "it does not exist, or needs credentials"
        return RuntimeFailure(f"image {image} not found in registry and not on this node: {hint} ({reason})")
    return RuntimeFailure(f"image {image} not found in registry and not on this node: {reason}")
