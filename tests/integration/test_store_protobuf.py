"""The etcd store with every protobuf that a site may have: an environment each, and the same etcd for all."""

from __future__ import annotations

import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

import newbon_core
from newbon_core.testing.etcd import EtcdCluster

pytestmark = [pytest.mark.dist, pytest.mark.etcd]

VERSIONS = {"4": "4.25.*", "5": "5.29.*", "6": "6.*", "7": "7.*"}

PROGRAM = """
import sys
import google.protobuf
from google.protobuf import descriptor_pool
from google.protobuf.internal import api_implementation
from newbon_core.store.base import Compare, LeaseExpired, Put
from newbon_core.store.etcd import EtcdStore

store, room = EtcdStore([sys.argv[1]]), sys.argv[2]
begin = store.txn([Compare(f"{room}a", 0)], [Put(f"{room}a", b"1"), Put(f"{room}large", bytes(1_000_000))]).revision
assert store.get(f"{room}a").value == b"1"
assert not store.txn([Compare(f"{room}a", 0)], [Put(f"{room}a", b"2")]).succeeded
lease = store.grant_lease(60)
store.txn([], [Put(f"{room}bound", b"3", lease)])
store.keep_alive(lease)
watch = store.watch(room, begin)
store.revoke_lease(lease)
try:
    store.keep_alive(lease)
    raise SystemExit("a lease that is gone was kept alive")
except LeaseExpired:
    pass
store.txn([], [], [f"{room}a"])
seen = []
while len(seen) < 5:
    seen += [(change.key.removeprefix(room), change.value and change.value[:1]) for change in watch.poll(10).changes]
assert seen == [("a", b"1"), ("large", b"\\0"), ("bound", b"3"), ("bound", None), ("a", None)], seen
assert [item.key for item in store.list(room)[0]] == [f"{room}large"]
store.close()
try:
    descriptor_pool.Default().FindMessageTypeByName("etcdserverpb.RangeRequest")
    raise SystemExit("the messages are in everybody's pool")
except KeyError:
    pass
print(google.protobuf.__version__, api_implementation.Type())
"""


@pytest.fixture(scope="module")
def environments(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The Python of an environment per version, made at the same time."""
    folder = tmp_path_factory.mktemp("environments")
    pythons, installs = {}, []
    for name, version in VERSIONS.items():
        venv.create(folder / name, with_pip=False, symlinks=True)
        pythons[name] = folder / name / "bin" / "python"
        pip = [sys.executable, "-m", "pip", "--python", str(pythons[name]), "install", "--quiet"]
        pip += ["--disable-pip-version-check", "etcd3==0.12.0", f"protobuf=={version}"]
        installs.append(subprocess.Popen(pip, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
    for install in installs:
        output, _ = install.communicate(timeout=300)
        assert install.returncode == 0, output
    return pythons


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with EtcdCluster(1, tmp_path_factory.mktemp("etcd")) as cluster:
        yield cluster.endpoints[0]


@pytest.mark.parametrize("name", VERSIONS)
def test_etcd_works_with_this_protobuf(environments: dict[str, Path], endpoint: str, name: str) -> None:
    source = str(Path(newbon_core.__file__).parent.parent)
    done = subprocess.run(
        [environments[name], "-c", PROGRAM, endpoint, f"/protobuf{name}/"],
        env={"PYTHONPATH": source},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    version, implementation = done.stdout.split()
    assert version.split(".")[0] == name
    assert implementation == "upb", "the pure Python messages are ten times slower"
