"""Builders: hosts with given plugins, minimal documents, and hypothesis strategies for documents."""

import copy
from dataclasses import dataclass, field
from random import Random
from typing import Any

from hypothesis import strategies as st

from newbon_core.hooks.providers import RuntimeType, ServiceField
from newbon_core.schema import parse_documents
from newbon_core.schema.grammar import CAPABILITIES, SIGNALS
from newbon_core.schema.plugins import ENFORCED


@dataclass
class Host:
    """What schema sees of a plugin host."""

    runtimes: dict[str, RuntimeType] = field(default_factory=dict)
    service_fields: dict[str, tuple[str, ServiceField]] = field(default_factory=dict)

    @classmethod
    def bare(cls, **runtime: Any) -> "Host":
        return cls({"docker": RuntimeType(name="docker", create=lambda _options: None, **runtime)})

    @classmethod
    def full(cls) -> "Host":
        host = cls.bare()
        host.service_fields = {path: ("all", ServiceField(path=path)) for path in ENFORCED}
        return host

    def enforcing(self, path: str, validate=lambda _value: (), plugin: str = "guard") -> "Host":
        self.service_fields[path] = (plugin, ServiceField(path=path, validate=validate))
        return self


def service(**fields: Any) -> dict[str, Any]:
    """The smallest Service document, with these fields beside."""
    return {"kind": "Service", "name": "web", "image": "shop/web:1"} | fields


def loaded(document: dict[str, Any], host: Host | None = None):
    """The model of a sound document."""
    result = parse_documents([document], host or Host.full())
    assert result.ok, [str(problem) for problem in result.problems]
    return result.documents[0].value


def problems_of(document: Any, host: Host | None = None) -> dict[str, str]:
    """Path -> message of one document that is expected to be refused."""
    result = parse_documents([document], host or Host.full())
    assert not result.ok, "the document was accepted"
    return {problem.path: problem.message for problem in result.problems}


# --- strategies -------------------------------------------------------------------------------------------------------

DNS = st.from_regex(r"\A[a-z]([-a-z0-9]{0,10}[a-z0-9])?\Z")
WORDS = st.from_regex(r"\A[A-Za-z0-9]([-A-Za-z0-9_.]{0,8}[A-Za-z0-9])?\Z")
KEYS = st.one_of(WORDS, WORDS.map(lambda word: f"example.org/{word}"))
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), max_size=20)
PATHS = st.lists(WORDS, min_size=1, max_size=3).map(lambda parts: "/" + "/".join(parts))
MEMORY = st.one_of(
    st.integers(1 << 20, 1 << 45),
    st.builds(lambda n, unit: f"{n}{unit}", st.integers(2, 900), st.sampled_from(["MiB", "Mi", "GiB", "M", "MB", "G"])),
)
CPU = st.one_of(
    st.integers(1, 64),
    st.integers(1, 64_000).map(lambda millis: f"{millis}m"),
    st.integers(1, 64_000).map(lambda millis: millis / 1000),
)
DURATIONS = st.one_of(
    st.integers(1, 3_000).map(lambda s: f"{s}s"),
    st.integers(1_000, 3_000_000).map(lambda ms: f"{ms}ms"),
    st.builds(lambda m, s: f"{m}m{s}s", st.integers(1, 40), st.integers(0, 59)),
)


def mapping(required: dict[str, Any] | None = None, **optional: Any):
    return st.fixed_dictionaries(required or {}, optional=optional)


def unique(strategy, key=None, most=4):
    return st.lists(strategy, max_size=most, unique_by=key or repr)


RESOURCES = st.builds(
    lambda base, countable: base | countable,
    mapping(cpu=CPU, memory=MEMORY),
    st.dictionaries(st.sampled_from(["gpu", "tpu", "example.org/fpga"]), st.integers(1, 8)),
)
PORTS = unique(
    mapping(
        {"name": DNS.filter(lambda name: "--" not in name), "port": st.integers(1, 65535)},
        protocol=st.sampled_from(["tcp", "udp"]),
        host_port=st.one_of(st.just("auto"), st.integers(1, 65535)),
    ),
    key=(
        lambda p: p["name"],
        lambda p: p["port"],
        lambda p: p.get("host_port") if p.get("host_port") != "auto" else p["name"],
    ),
)
MOUNTS = unique(
    st.one_of(
        mapping({"path": PATHS, "volume": WORDS.map(lambda word: f"v{word}")}, read_only=st.booleans()),
        mapping({"path": PATHS, "host_path": PATHS}, read_only=st.booleans()),
    ),
    key=lambda mount: mount["path"],
)
SCHEDULES = mapping(
    constraints=unique(TEXTS),
    tolerations=unique(mapping({"key": KEYS}, value=WORDS)),
    affinity=unique(
        mapping({"service": DNS}, topology=KEYS, anti=st.booleans()),
        key=lambda a: (a["service"], a.get("topology", "node")),
    ),
    spread=unique(KEYS),
    priority=st.integers(0, 1000),
    max_per_node=st.integers(0, 50),
)
RESTARTS = mapping(
    policy=st.sampled_from(["always", "on-failure", "never"]),
    factor=st.one_of(st.integers(1, 100), st.floats(1, 100)),
    reset_after=DURATIONS,
)
PLAIN = st.recursive(
    st.one_of(st.booleans(), st.integers(-(1 << 60), 1 << 60), st.floats(allow_nan=False, allow_infinity=False), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(WORDS, inner, max_size=3)),
    max_leaves=5,
)
SERVICES = mapping(
    {
        "kind": st.just("Service"),
        "name": DNS,
        "image": st.sampled_from(
            ["busybox", "shop/web:1.4", "r.example:5000/a/b@sha256:" + "0" * 64, "sha256:" + "a" * 64]
        ),
    },
    labels=st.dictionaries(KEYS, WORDS, max_size=3),
    command=st.lists(TEXTS, max_size=3),
    args=st.lists(TEXTS, max_size=3),
    env=st.dictionaries(st.from_regex(r"\A[A-Z_][A-Z0-9_]{0,8}\Z"), TEXTS, max_size=3),
    replicas=st.integers(0, 100_000),
    resources=RESOURCES,
    ports=PORTS,
    mounts=MOUNTS,
    user=st.one_of(st.integers(0, 70_000), st.just("www-data"), st.just("1000:1000")),
    working_dir=PATHS,
    read_only=st.booleans(),
    capabilities=mapping(
        add=unique(st.sampled_from(CAPABILITIES[:15])),
        drop=unique(st.sampled_from(CAPABILITIES[15:]).map(lambda c: f"CAP_{c}")),
    ),
    stop=mapping(signal=st.sampled_from(SIGNALS), grace=DURATIONS),
    schedule=SCHEDULES,
    restart=RESTARTS,
    update=mapping(parallelism=st.integers(1, 1000), order=st.sampled_from(["start-first", "stop-first"])),
)
NODES = mapping(
    {"kind": st.just("Node"), "name": DNS},
    labels=st.dictionaries(KEYS.filter(lambda key: key != "node"), WORDS, max_size=3),
    taints=unique(mapping({"key": KEYS}, value=WORDS)),
    cordoned=st.booleans(),
)
JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(
        ["", "yes", "08", "1:30", "-1", "0", "10", "5 s", "256MB ", "a b", "../x", "\x00", "\ud800", "x" * 5000]
    ),
    st.just([]),
    st.just({}),
    st.lists(st.one_of(st.none(), st.integers(), st.text(max_size=3)), max_size=2),
    st.dictionaries(st.one_of(st.text(max_size=3), st.integers()), st.integers(), max_size=2),
)


@st.composite
def mutated(draw, documents=SERVICES | NODES):
    """A sound document with one to three things put out of order: replaced, removed, renamed or added."""
    document = copy.deepcopy(draw(documents))
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(document))
        container, key = draw(st.sampled_from(places))
        match draw(st.sampled_from(["replace", "replace", "remove", "rename", "add"])):
            case "replace":
                container[key] = draw(JUNK)
            case "remove":
                del container[key]
            case "rename" if isinstance(container, dict):
                container[str(key)[:-1] + draw(st.text(max_size=2))] = container.pop(key)
            case _ if isinstance(container, dict):
                container[draw(st.text(max_size=4))] = draw(JUNK)
            case _:
                container.append(draw(JUNK))
        if not document:
            break
    return document


SPOILS = [
    None,
    True,
    0,
    -1,
    3.5,
    float("nan"),
    "",
    "x",
    "yes",
    "-",
    "1:30",
    "a b",
    "\x00",
    "\ud800",
    "x" * 5000,
    [],
    {},
    [None],
    {"": 1},
    {5: 5},
]


def spoil(document, random: Random):
    """A copy with one to three things put out of order."""
    spoilt = copy.deepcopy(document)
    for _ in range(random.randint(1, 3)):
        places = list(_places(spoilt))
        if not places:
            break
        container, key = random.choice(places)
        match random.randint(0, 4):
            case 0:
                del container[key]
            case 1 if isinstance(container, dict):
                container[str(key)[:-1]] = container.pop(key)
            case 2 if isinstance(container, dict):
                container[random.choice(["nmae", "prot", "", "x y"])] = copy.deepcopy(random.choice(SPOILS))
            case 3 if isinstance(container, list):
                container.append(copy.deepcopy(container[key]))
            case _:
                container[key] = copy.deepcopy(random.choice(SPOILS))
    return spoilt


def _places(value):
    items = list(value.items() if isinstance(value, dict) else enumerate(value))
    for key, item in items:
        yield value, key
        if isinstance(item, dict | list) and item:
            yield from _places(item)
