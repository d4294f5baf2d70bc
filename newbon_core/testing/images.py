"""A small image for the demo and for tests, built here: no registry is needed."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from pathlib import Path

import docker

TEST_IMAGE = "newbon/example-web:1"
"""Its command serves one page, which names the instance, on port 8080; it has a shell and busybox's tools."""

_ENTRY = """#!/bin/sh
# A first process has no default action for SIGTERM: without this trap, stopping takes the whole grace.
trap 'kill $server 2>/dev/null; exit 0' TERM INT
mkdir -p /tmp/www
cat > /tmp/www/index.html <<EOF
<html><body><h1>${NEWBON_INSTANCE:-hello}</h1><p>on ${NEWBON_NODE:-this node}, served by $(hostname)</p></body></html>
EOF
echo "serving on port 8080 as ${NEWBON_INSTANCE:-hello}"
httpd -f -v -p 8080 -h /tmp/www &
server=$!
wait $server
"""


class ImageFailure(Exception):
    """The test image cannot be built here; the text says what is missing."""


def ensure_test_image(engine_url: str = "unix:///var/run/docker.sock") -> str:
    """Build ``newbon/example-web:1`` in the engine unless it is there; returns its reference. Raises ImageFailure."""
    try:
        client = docker.APIClient(base_url=engine_url)
    except docker.errors.DockerException as error:
        raise ImageFailure(f"the Docker engine at {engine_url} does not answer: {error}") from error
    try:
        if client.images(name=TEST_IMAGE, quiet=True):
            return TEST_IMAGE
        repository, _, tag = TEST_IMAGE.partition(":")
        client.import_image_from_data(
            root_filesystem(), repository=repository, tag=tag,
            changes=['CMD ["/entry.sh"]', "EXPOSE 8080", "ENV PATH=/bin"],
        )  # fmt: skip
        return TEST_IMAGE
    except docker.errors.APIError as error:
        raise ImageFailure(f"the Docker engine at {engine_url} did not take the image: {error}") from error
    finally:
        client.close()


def root_filesystem() -> bytes:
    """A tar of busybox with all its applets, a few needed files, and the entry script."""
    busybox = _busybox()
    applets = subprocess.run([busybox, "--list"], check=True, capture_output=True, text=True).stdout.split()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for folder, mode in (("bin", 0o755), ("etc", 0o755), ("tmp", 0o1777), ("root", 0o700)):
            info = tarfile.TarInfo(folder)
            info.type, info.mode = tarfile.DIRTYPE, mode
            tar.addfile(info)
        _add(tar, "bin/busybox", busybox.read_bytes(), 0o755)
        for applet in applets:
            if applet != "busybox":
                info = tarfile.TarInfo(f"bin/{applet}")
                info.type, info.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(info)
        _add(tar, "etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n", 0o644)
        _add(tar, "etc/group", b"root:x:0:\nnobody:x:65534:\n", 0o644)
        _add(tar, "entry.sh", _ENTRY.encode(), 0o755)
    return buffer.getvalue()


def _add(tar: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), mode
    tar.addfile(info, io.BytesIO(content))


def _busybox() -> Path:
    found = shutil.which("busybox")
    if found is None:
        raise ImageFailure("there is no busybox on this machine to build the image from: apt install busybox-static")
    path = Path(found).resolve()
    if b"/lib64/ld-linux" in path.read_bytes():
        raise ImageFailure(f"{path} is not statically linked, so it does not run alone: apt install busybox-static")
    return path
