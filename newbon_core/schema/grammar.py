"""What names, labels, images, paths and the like may look like.

Every ``check_…`` takes a string and returns it in canonical form, or raises ValueError with what was expected. The
sources are RFC 1123 (host labels), RFC 6335 (port names), the Kubernetes label grammar, and the image reference grammar
of the OCI distribution project.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from newbon_core.schema.problems import Said, listed, nearest

Check = Callable[[str], str]

MAX_NAME_CHARS = 63
MAX_REPLICAS = 100_000
MAX_SERVICE_NAME_CHARS = MAX_NAME_CHARS - len("-100000")
"""An instance is called ``<service>-<number>`` and has to be a DNS label itself."""

_DNS_LABEL = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?")
_PORT_NAME = re.compile(r"(?=.*[a-z])[a-z0-9]+(?:-[a-z0-9]+)*")
_WORD = r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_LABEL_KEY = re.compile(rf"(?:([a-z0-9](?:[-a-z0-9.]{{0,251}}[a-z0-9])?)/)?{_WORD}")
_LABEL_VALUE = re.compile(rf"(?:{_WORD})?")
_NODE_NAME = re.compile(r"[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,255}")
_VOLUME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{1,254}")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,63})?")
_HOST_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_HOST = rf"(?:{_HOST_LABEL}(?:\.{_HOST_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_IMAGE = re.compile(
    rf"(?:{_HOST}/)?{_PART}(?:/{_PART})*(?::[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}})?(?:@sha256:[0-9a-f]{{64}})?"
)
_IMAGE_ID = re.compile(r"sha256:[0-9a-f]{64}")
_RUNTIME = re.compile(r"[a-z][a-z0-9_-]{0,62}")

SIGNALS = (
    *("HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM"),
    *("TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF"),
    *("WINCH", "IO", "PWR", "SYS", "RTMIN", "RTMAX", *(f"RTMIN+{n}" for n in range(1, 16))),
    *(f"RTMAX-{n}" for n in range(1, 15)),
)
CAPABILITIES = (
    *("ALL", "AUDIT_CONTROL", "AUDIT_READ", "AUDIT_WRITE", "BLOCK_SUSPEND", "BPF", "CHECKPOINT_RESTORE", "CHOWN"),
    *("DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "IPC_LOCK", "IPC_OWNER", "KILL", "LEASE"),
    *("LINUX_IMMUTABLE", "MAC_ADMIN", "MAC_OVERRIDE", "MKNOD", "NET_ADMIN", "NET_BIND_SERVICE", "NET_BROADCAST"),
    *("NET_RAW", "PERFMON", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYSLOG", "SYS_ADMIN", "SYS_BOOT", "SYS_CHROOT"),
    *("SYS_MODULE", "SYS_NICE", "SYS_PACCT", "SYS_PTRACE", "SYS_RAWIO", "SYS_RESOURCE", "SYS_TIME"),
    *("SYS_TTY_CONFIG", "WAKE_ALARM"),
)
_SIGNAL_SET = frozenset(SIGNALS)
_CAPABILITY_SET = frozenset(CAPABILITIES)


class Wrong(ValueError):
    """A value that its grammar refuses; carries the message with its nearest valid name."""

    def __init__(self, message: str, near: str | None = None) -> None:
        super().__init__(message)
        self.said = Said.of(message, near)


def _suggested(text: str, pattern: re.Pattern[str], limit: int) -> str | None:
    """The text made lower case with dashes, where that is what was probably meant."""
    better = re.sub(r"[^a-z0-9]+", "-", text[: limit * 2].lower()).strip("-")
    return better if better and better != text and len(better) <= limit and pattern.fullmatch(better) else None


def check_service_name(text: str) -> str:
    """A DNS label short enough that ``<service>-<number>`` is one too."""
    if len(text) <= MAX_SERVICE_NAME_CHARS and _DNS_LABEL.fullmatch(text):
        return text
    raise Wrong(
        "expected a DNS label: lower-case letters, digits and dashes inside, "
        f"at most {MAX_SERVICE_NAME_CHARS} characters",
        _suggested(text, _DNS_LABEL, MAX_SERVICE_NAME_CHARS),
    )


def check_node_name(text: str) -> str:
    """A host name: one or more DNS labels."""
    if len(text) <= 253 and _NODE_NAME.fullmatch(text):
        return text
    raise Wrong("expected a node's name: lower-case letters, digits, dashes and dots inside, at most 253 characters")


def check_port_name(text: str) -> str:
    """An RFC 6335 service name, for it becomes part of a SRV record."""
    if len(text) <= 15 and _PORT_NAME.fullmatch(text):
        return text
    raise Wrong(
        "expected a port name: at most 15 lower-case letters, digits and single dashes inside, at least one letter",
        _suggested(text, _PORT_NAME, 15),
    )


def check_label_key(text: str) -> str:
    """``disk`` or ``example.org/disk``."""
    if _LABEL_KEY.fullmatch(text):
        return text
    raise Wrong(
        "expected a label key: at most 63 letters, digits, '-', '_' and '.', a letter or digit at both ends, "
        "with an optional prefix such as example.org/"
    )


def check_label_value(text: str) -> str:
    """Empty, or a word of at most 63 characters."""
    if _LABEL_VALUE.fullmatch(text):
        return text
    raise Wrong(
        "expected a label value: at most 63 letters, digits, '-', '_' and '.', a letter or digit at both ends, or empty"
    )


def check_env_name(text: str) -> str:
    """A name without ``=`` that programs can look up."""
    if _ENV_NAME.fullmatch(text):
        return text
    raise Wrong("expected the name of an environment variable: letters, digits and '_', no digit first")


def check_image(text: str) -> str:
    """``registry.example:5000/shop/web:1.4``, with a digest, or the id of a local image (``sha256:`` and 64 digits)."""
    if len(text) <= 512 and (_IMAGE_ID.fullmatch(text) if text.startswith("sha256:") else _IMAGE.fullmatch(text)):
        return text
    lower = text.lower()
    near = lower if len(text) <= 512 and lower != text and _IMAGE.fullmatch(lower) else None
    raise Wrong("expected an image such as registry.example/shop/web:1.4 or sha256: and 64 hexadecimal digits", near)


def check_absolute_path(text: str) -> str:
    """An absolute path without ``..``; doubled and trailing slashes are taken away."""
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if not text.startswith("/") or ".." in parts or len(text) > 4096:
        raise Wrong("expected an absolute path without '..', such as /var/lib/data")
    return "/" + "/".join(parts)


def check_mount_path(text: str) -> str:
    """An absolute path below the root, without ``:``."""
    path = check_absolute_path(text)
    if path == "/" or ":" in path:
        raise Wrong("expected an absolute path below / and without ':', such as /var/lib/data")
    return path


def check_volume(text: str) -> str:
    """The name of a volume of the engine."""
    if _VOLUME.fullmatch(text):
        return text
    hint = "; a path of the host is given as host_path" if text.startswith(("/", ".")) else ""
    raise Wrong(f"expected a volume's name: letters, digits, '_', '.' and '-', at least two{hint}")


def check_user(text: str) -> str:
    """``user``, ``uid``, ``user:group`` or ``uid:gid``."""
    if _USER.fullmatch(text):
        return text
    raise Wrong("expected a user such as www-data, 1000 or 1000:1000")


def check_signal(text: str) -> str:
    """``SIGTERM`` or ``TERM``, in canonical form ``SIGTERM``."""
    short = text.upper().removeprefix("SIG")
    if short in _SIGNAL_SET:
        return f"SIG{short}"
    raise Wrong("expected a signal by its name, such as SIGTERM", nearest(f"SIG{short}", (f"SIG{s}" for s in SIGNALS)))


def check_capability(text: str) -> str:
    """``NET_ADMIN`` or ``CAP_NET_ADMIN``, in canonical form ``NET_ADMIN``."""
    short = text.upper().removeprefix("CAP_")
    if short in _CAPABILITY_SET:
        return short
    raise Wrong("expected a Linux capability such as NET_ADMIN, or ALL", nearest(short, CAPABILITIES))


def check_runtime_name(text: str) -> str:
    """The form of a runtime's name; whether it is installed is looked up later."""
    if _RUNTIME.fullmatch(text):
        return text
    raise Wrong("expected the name of a runtime, such as docker")


def one_of(names: tuple[str, ...]) -> Check:
    """A check that accepts exactly these names."""
    allowed = frozenset(names)

    def check(text: str) -> str:
        if text in allowed:
            return text
        raise Wrong(f"expected {listed(names)}", nearest(text, names))

    return check


PATTERNS: Mapping[Check, str] = {
    check_service_name: rf"^{_DNS_LABEL.pattern}$",
    check_port_name: r"^(?=.*[a-z])[a-z0-9]+(?:-[a-z0-9]+)*$",
    check_label_key: rf"^{_LABEL_KEY.pattern}$",
    check_label_value: rf"^{_LABEL_VALUE.pattern}$",
    check_image: rf"^(?:{_IMAGE_ID.pattern}|{_IMAGE.pattern})$",
    check_mount_path: r"^/[^:]+$",
    check_absolute_path: r"^/",
    check_node_name: rf"^{_NODE_NAME.pattern}$",
    check_volume: rf"^{_VOLUME.pattern}$",
    check_user: rf"^{_USER.pattern}$",
    check_runtime_name: rf"^{_RUNTIME.pattern}$",
}
"""The grammars as the OpenAPI description tells them, for readers and test generators; the checks decide."""
