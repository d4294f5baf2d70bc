"""The Service document, field by field: what it makes, and what is refused with which words."""

import pytest
from schema_builders import Host, loaded, problems_of, service

from newbon_core.model import (
    AUTO_HOST_PORT,
    Affinity,
    ContainerSpec,
    Mount,
    Port,
    Resources,
    Restart,
    Schedule,
    Service,
    Toleration,
    Update,
)
from newbon_core.schema import dump_service, parse_documents


def refused(message, **fields):
    """Asserts that these fields are refused with these words and returns the paths."""
    found = problems_of(service(**fields))
    assert any(message in text for text in found.values()), found
    return list(found)


# --- what is made -----------------------------------------------------------------------------------------------------


def test_kind_name_and_image_are_enough():
    assert loaded(service()) == Service(name="web", container=ContainerSpec(image="shop/web:1"))


def test_defaults_need_no_plugin_but_the_runtime(bare):
    assert parse_documents([service()], bare).ok


def test_everything_there_is():
    model = loaded(
        service(
            labels={"team": "shop"},
            command=["/app/serve"],
            args=["-v"],
            env={"MODE": "production", "EMPTY": ""},
            replicas=3,
            resources={"cpu": "500m", "memory": "256MiB", "cpu_limit": 1, "memory_limit": "512MiB", "gpu": 1},
            ports=[{"name": "http", "port": 8080, "host_port": "auto"}, {"name": "dns", "port": 53, "protocol": "udp"}],
            mounts=[
                {"path": "/data/", "volume": "web-data"},
                {"path": "/etc/x", "host_path": "/srv//x", "read_only": True},
            ],
            user=1000,
            working_dir="/app",
            read_only=True,
            capabilities={"add": ["CAP_NET_ADMIN"], "drop": ["all"]},
            stop={"signal": "quit", "grace": "1m30s"},
            runtime="docker",
            schedule={
                "constraints": ["node.labels.disk == ssd"],
                "tolerations": [{"key": "dedicated", "value": "x"}, {"key": "spot"}],
                "affinity": [{"service": "web", "anti": True}, {"service": "cache", "topology": "zone"}],
                "spread": ["zone", "node"],
                "priority": 80,
                "max_per_node": 2,
            },
            restart={"policy": "on-failure", "backoff": "5s", "factor": 3, "max_backoff": "1m", "reset_after": "10m"},
            update={"parallelism": 2, "order": "stop-first"},
        )
    )
    assert model == Service(
        name="web",
        labels={"team": "shop"},
        replicas=3,
        container=ContainerSpec(
            image="shop/web:1",
            command=("/app/serve",),
            args=("-v",),
            env={"MODE": "production", "EMPTY": ""},
            resources=Resources(
                cpu_millis=500,
                memory_bytes=256 << 20,
                cpu_limit_millis=1000,
                memory_limit_bytes=512 << 20,
                countable={"gpu": 1},
            ),
            ports=(
                Port(name="http", port=8080, host_port=AUTO_HOST_PORT),
                Port(name="dns", port=53, protocol="udp"),
            ),
            mounts=(
                Mount(path="/data", volume="web-data"),
                Mount(path="/etc/x", host_path="/srv/x", read_only=True),
            ),
            user="1000",
            working_dir="/app",
            read_only=True,
            capabilities_add=("NET_ADMIN",),
            capabilities_drop=("ALL",),
            stop_signal="SIGQUIT",
            stop_grace_s=90.0,
        ),
        schedule=Schedule(
            constraints=("node.labels.disk == ssd",),
            tolerations=(Toleration(key="dedicated", value="x"), Toleration(key="spot")),
            affinity=(Affinity(service="web", anti=True), Affinity(service="cache", topology="zone")),
            spread=("zone", "node"),
            priority=80,
            max_per_node=2,
        ),
        restart=Restart(policy="on-failure", backoff_s=5, factor=3, max_backoff_s=60, reset_after_s=600),
        update=Update(parallelism=2, order="stop-first"),
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"resources": {"cpu": 0.5, "memory": "1GiB"}}, {"resources": {"cpu": "500m", "memory": 1 << 30}}),
        ({"stop": {"signal": "SIGTERM", "grace": "60s"}}, {"stop": {"signal": "term", "grace": "1m"}}),
        ({"labels": {}, "env": {}, "ports": [], "resources": {}, "stop": {}, "schedule": {}}, {}),
        ({"mounts": [{"path": "/a//b/", "volume": "vv"}]}, {"mounts": [{"path": "/a/b", "volume": "vv"}]}),
        ({"restart": {"factor": 2}, "replicas": 1, "runtime": "docker"}, {}),
    ],
)
def test_two_spellings_of_the_same_are_equal_so_that_applying_again_changes_nothing(one, other):
    assert loaded(service(**one)) == loaded(service(**other))


def test_a_dump_has_the_users_spelling_and_no_defaults():
    document = service(resources={"memory": "256MiB", "cpu": "500m"}, stop={"grace": "90s"}, replicas=1, user=0)
    assert dump_service(loaded(document)) == {
        "kind": "Service",
        "name": "web",
        "image": "shop/web:1",
        "resources": {"cpu": 0.5, "memory": "256MiB"},
        "user": "0",
        "stop": {"grace": "1m30s"},
    }


def test_a_dump_shares_nothing_with_the_model():
    model = loaded(service(env={"A": "x"}, labels={"a": "b"}))
    spelt = dump_service(model)
    spelt["env"]["A"] = "changed"
    spelt["labels"].clear()
    assert model.container.env == {"A": "x"}
    assert model.labels == {"a": "b"}


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "path", "near"),
    [
        ({"imge": "x"}, "imge", "image"),
        ({"Replicas": 3}, "Replicas", "replicas"),
        ({"schedule": {"constraint": []}}, "schedule.constraint", "constraints"),
        (
            {"ports": [{"name": "a", "port": 1}, {"name": "b", "port": 2, "hostport": 3}]},
            "ports[1].hostport",
            "host_port",
        ),
        ({"schedule": {"affinity": [{"service": "x", "toplogy": "zone"}]}}, "schedule.affinity[0].toplogy", "topology"),
        ({"resources": {"memroy": "256MiB"}}, "resources.memroy", "memory"),
        ({"resources": {"cpus": 2}}, "resources.cpus", "cpu"),
        ({"resources": {"ram": 512}}, "resources.ram", "memory"),
        ({"restart": {"policy": "on_failure"}}, "restart.policy", "on-failure"),
        ({"update": {"order": "Start-First"}}, "update.order", "start-first"),
        ({"stop": {"signal": "SIGTREM"}}, "stop.signal", "SIGTERM"),
        ({"capabilities": {"add": ["NET_ADMN"]}}, "capabilities.add[0]", "NET_ADMIN"),
        ({"ports": [{"name": "a", "port": 1, "protocol": "TCP"}]}, "ports[0].protocol", "tcp"),
        ({"name": "Web_Shop"}, "name", "web-shop"),
        ({"image": "Shop/Web"}, "image", "shop/web"),
        ({"kind": "service"}, "kind", "Service"),
        ({"runtime": "doker"}, "runtime", "docker"),
    ],
)
def test_what_is_misspelt_is_told_with_the_nearest_right_name(fields, path, near):
    result = parse_documents([service(**fields)], Host.full())
    found = {problem.path: problem for problem in result.problems}
    assert path in found, found
    assert found[path].nearest == near
    assert f"did you mean {near}?" in found[path].message


@pytest.mark.parametrize("name", ["health", "scale", "network", "discovery"])
def test_fields_of_later_versions_are_refused_as_such(name):
    assert refused(f"{name} is not supported by this version of Newbon", **{name: {}}) == [name]


def test_a_field_that_is_near_to_nothing_lists_what_there_is():
    assert refused("known are name, labels, image", qqqqq=1) == ["qqqqq"]


@pytest.mark.parametrize(
    ("fields", "path", "expected"),
    [
        ({"replicas": -1}, "replicas", "from 0 to 100000"),
        ({"replicas": 100_001}, "replicas", "from 0 to 100000"),
        ({"replicas": "3"}, "replicas", "a whole number"),
        ({"replicas": 3.0}, "replicas", "a whole number"),
        ({"replicas": True}, "replicas", "a whole number"),
        ({"replicas": None}, "replicas", "is empty"),
        ({"read_only": "yes"}, "read_only", "true or false"),
        ({"read_only": 1}, "read_only", "true or false"),
        ({"image": 5}, "image", "put it in quotes"),
        ({"command": "/app/serve -v"}, "command", "a list of texts"),
        ({"command": ["/app", 5]}, "command[1]", "put it in quotes"),
        ({"command": [None]}, "command[0]", "expected text"),
        ({"env": ["A=b"]}, "env", "a mapping of environment variables"),
        ({"env": {"A": 5}}, "env.A", "put it in quotes"),
        ({"env": {"A": None}}, "env.A", "expected text"),
        ({"env": {"A B": "x"}}, 'env."A B"', "environment variable"),
        ({"env": {"1A": "x"}}, "env.1A", "environment variable"),
        ({"env": {"A=B": "x"}}, "env.A=B", "environment variable"),
        ({"args": ["a\x00b"]}, "args[0]", "control characters"),
        ({"args": ["\ud800"]}, "args[0]", "control characters"),
        ({"args": ["x" * 40_000]}, "args[0]", "at most 32768 characters"),
        ({"labels": {"-a": "x"}}, "labels.-a", "label key"),
        ({"labels": {"a": "x y"}}, "labels.a", "label value"),
        ({"labels": {"a": "x" * 64}}, "labels.a", "label value"),
        ({"resources": {"cpu": 0}}, "resources.cpu", "more than 0"),
        ({"resources": {"cpu": -0.5}}, "resources.cpu", "more than 0"),
        ({"resources": {"memory": 0}}, "resources.memory", "from 1MiB"),
        ({"resources": {"memory": "256"}}, "resources.memory", "unit"),
        ({"resources": {"memory": "256mb"}}, "resources.memory", "did you mean 256MB"),
        ({"resources": {"gpu": 0}}, "resources.gpu", "from 1"),
        ({"resources": {"gpu": "1"}}, "resources.gpu", "a whole number"),
        ({"resources": {"g p u": 1}}, 'resources."g p u"', "countable resource"),
        ({"resources": {"cpu": 2, "cpu_limit": 1}}, "resources.cpu_limit", "at least what is reserved as cpu"),
        ({"resources": {"memory": "2GiB", "memory_limit": "1GiB"}}, "resources.memory_limit", "reserved as memory"),
        ({"resources": {f"r{n}": 1 for n in range(100)}}, "resources", "at most 64"),
        ({"resources": "lots"}, "resources", "a mapping with the fields cpu, memory"),
        ({"ports": {"name": "a"}}, "ports", "a list of ports"),
        ({"ports": [{"port": 1}]}, "ports[0].name", "is missing"),
        ({"ports": [{"name": "http"}]}, "ports[0].port", "is missing"),
        ({"ports": [{"name": "http", "port": 70_000}]}, "ports[0].port", "from 1 to 65535"),
        ({"ports": [{"name": "a" * 16, "port": 1}]}, "ports[0].name", "at most 15"),
        ({"ports": [{"name": "80", "port": 80}]}, "ports[0].name", "at least one letter"),
        ({"ports": [{"name": "a", "port": 1, "host_port": 0}]}, "ports[0].host_port", "auto or a port number"),
        ({"ports": [8080]}, "ports[0]", "a mapping with the fields name, port"),
        ({"mounts": [{"path": "/a"}]}, "mounts[0]", "exactly one of volume and host_path"),
        ({"mounts": [{"path": "/a", "volume": "vv", "host_path": "/b"}]}, "mounts[0]", "exactly one of"),
        ({"mounts": [{"path": "a", "volume": "vv"}]}, "mounts[0].path", "absolute path"),
        ({"mounts": [{"path": "/", "volume": "vv"}]}, "mounts[0].path", "absolute path"),
        ({"mounts": [{"path": "/a/../b", "volume": "vv"}]}, "mounts[0].path", "without '..'"),
        ({"mounts": [{"path": "/a", "volume": "/srv"}]}, "mounts[0].volume", "is given as host_path"),
        ({"user": "a b"}, "user", "a user such as"),
        ({"user": -1}, "user", "a user such as"),
        ({"working_dir": "app"}, "working_dir", "absolute path"),
        ({"capabilities": {"add": ["KILL", "CAP_KILL"]}}, "capabilities.add[1]", "is there twice"),
        ({"capabilities": {"add": ["KILL"], "drop": ["KILL"]}}, "capabilities.drop", "added and dropped"),
        ({"stop": {"signal": 15}}, "stop.signal", "a signal by its name"),
        ({"stop": {"grace": 10}}, "stop.grace", "the unit is missing"),
        ({"stop": {"grace": "2h"}}, "stop.grace", "from 0s to 1h"),
        ({"runtime_options": {"a": float("nan")}}, "runtime_options", "plain values"),
        ({"runtime_options": []}, "runtime_options", "a mapping"),
        ({"schedule": {"priority": 1001}}, "schedule.priority", "from 0 to 1000"),
        ({"schedule": {"spread": "zone"}}, "schedule.spread", "a list of label keys"),
        ({"schedule": {"spread": ["zone", "zone"]}}, "schedule.spread[1]", "is there twice"),
        ({"schedule": {"constraints": [5]}}, "schedule.constraints[0]", "an expression such as"),
        ({"schedule": {"tolerations": [{"value": "x"}]}}, "schedule.tolerations[0].key", "is missing"),
        ({"schedule": {"affinity": [{"service": "A"}]}}, "schedule.affinity[0].service", "DNS label"),
        (
            {"schedule": {"affinity": [{"service": "a"}, {"service": "a", "anti": True}]}},
            "schedule.affinity[1].anti",
            "contradicts",
        ),
        ({"restart": {"backoff": "0s"}}, "restart.backoff", "from 100ms"),
        ({"restart": {"factor": 0.5}}, "restart.factor", "from 1 to 100"),
        ({"restart": {"backoff": "10m"}}, "restart.backoff", "no shorter than backoff"),
        ({"restart": {"max_backoff": "500ms"}}, "restart.max_backoff", "no shorter than backoff"),
        ({"update": {"parallelism": 0}}, "update.parallelism", "from 1"),
        ({"name": "a" * 57}, "name", "at most 56"),
        ({"name": "-a"}, "name", "DNS label"),
        ({"name": "a.b"}, "name", "DNS label"),
        ({"name": "web\n"}, "name", "DNS label"),
        ({"name": 5}, "name", "put it in quotes"),
        ({"image": "a b"}, "image", "an image such as"),
        ({"image": "web:"}, "image", "an image such as"),
        ({"image": "sha256:abc"}, "image", "64 hexadecimal digits"),
        ({"image": "https://r.example/web"}, "image", "an image such as"),
    ],
)
def test_what_is_impossible_is_refused_with_what_was_expected(fields, path, expected):
    found = problems_of(service(**fields))
    assert path in found, found
    assert expected in found[path]


def test_duplicate_ports_are_refused_at_the_second():
    ports = [
        {"name": "http", "port": 80, "host_port": 80},
        {"name": "http", "port": 80, "protocol": "udp"},
        {"name": "web", "port": 80},
        {"name": "more", "port": 81, "host_port": 80},
        {"name": "auto1", "port": 82, "host_port": "auto"},
        {"name": "auto2", "port": 83, "host_port": "auto"},
    ]
    assert problems_of(service(ports=ports)) == {
        "ports[1].name": "is the same name as item 0",
        "ports[2].port": "is the same port and protocol as item 0",
        "ports[3].host_port": "is the same host port as item 0",
    }


def test_two_mounts_at_one_path_are_refused():
    mounts = [{"path": "/a", "volume": "v1"}, {"path": "/a/", "volume": "v2"}]
    assert problems_of(service(mounts=mounts)) == {"mounts[1].path": "is the same path as item 0"}


@pytest.mark.parametrize(
    "image",
    [
        "busybox",
        "busybox:1.36",
        "library/busybox",
        "r.example/a/b:1",
        "r.example:5000/a",
        "localhost/a",
        "a@sha256:" + "0" * 64,
        "r.example/a:1@sha256:" + "f" * 64,
        "sha256:" + "a" * 64,
        "a__b/c--d",
        "[::1]:5000/a",
        "newbon/example-web:1",
    ],
)
def test_images_that_engines_know(image):
    assert loaded(service(image=image)).container.image == image


def test_a_service_name_leaves_room_for_the_number():
    assert loaded(service(name="a" * 56)).name == "a" * 56
