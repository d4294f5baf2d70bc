"""The store on a real etcd: the suite of every store, and what only etcd has (pages, fragments, TLS, passwords)."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from newbon_core.store.base import Put, StoreUnavailable
from newbon_core.store.etcd import EtcdStore
from newbon_core.store.etcd_link import Member, Security, rpc
from newbon_core.testing.etcd import EtcdCluster
from newbon_core.testing.store_conformance import StoreConformance, collect, next_batch, put

pytestmark = pytest.mark.etcd


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdCluster]:
    with EtcdCluster(1, tmp_path_factory.mktemp("etcd")) as cluster:
        yield cluster


class TestConformance(StoreConformance):
    lease_ttl_s = 2.0

    @pytest.fixture
    def store(self, single: EtcdCluster) -> Iterator[EtcdStore]:
        store = EtcdStore(single.endpoints)
        yield store
        store.close()


def test_a_list_in_pages_is_one_moment(single: EtcdCluster) -> None:
    store = EtcdStore(single.endpoints)
    for first in range(0, 3000, 100):
        store.txn([], [Put(f"/pages/m{number:05d}", b"") for number in range(first, first + 100)])
    ended = threading.Event()

    def write() -> None:
        number = 0
        while not ended.is_set():
            number += 1
            store.txn([], [Put("/pages/a", str(number).encode()), Put("/pages/z", str(number).encode())])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(10):
            items, revision = store.list("/pages/")
            if len(items) > 3000:
                assert items[0].value == items[-1].value, "the first and the last page are of two moments"
            assert [item.key for item in items] == sorted({item.key for item in items})
            assert max(item.mod_revision for item in items) <= revision
    finally:
        ended.set()
        writer.join()
        store.close()


def test_a_watch_far_behind_gets_whole_revisions_of_any_size(single: EtcdCluster) -> None:
    """etcd sends what is due as one answer of many megabytes, in fragments that end anywhere."""
    store = EtcdStore(single.endpoints)
    begin = put(store, "/fragments/first")
    for _ in range(20):
        store.txn([], [Put(f"/fragments/{number:03d}", bytes(11_000)) for number in range(120)])
    seen = collect(store.watch("/fragments/", begin + 1), 20 * 120)
    assert len(seen) == 20 * 120
    assert [change.key for change in seen] == [f"/fragments/{number:03d}" for number in range(120)] * 20
    store.close()


def test_an_endpoint_that_is_down_is_passed_over(single: EtcdCluster) -> None:
    store = EtcdStore(("127.0.0.1:9", single.endpoints[0]))
    watch = store.watch("/over/", put(store, "/over/a"))
    assert [change.key for change in collect(watch, 1)] == ["/over/a"]
    store.close()


def test_no_endpoint_at_all_is_said() -> None:
    store = EtcdStore(("127.0.0.1:9", "127.0.0.1:10"), timeout_s=0.5)
    with pytest.raises(StoreUnavailable, match=r"etcd at 127.0.0.1:9, 127.0.0.1:10 did not answer within 0.5 s"):
        store.get("/a")
    store.close()


def sign_in_root(cluster: EtcdCluster) -> None:
    member = Member(cluster.endpoints[0], Security())
    member.connect(5)
    member.auth.UserAdd(rpc.AuthUserAddRequest(name="root", password="secret"))
    member.auth.RoleAdd(rpc.AuthRoleAddRequest(name="root"))
    member.auth.UserGrantRole(rpc.AuthUserGrantRoleRequest(user="root", role="root"))
    member.auth.AuthEnable(rpc.AuthEnableRequest())
    member.close()


def test_signing_in_and_again_when_the_token_is_gone(tmp_path: Path) -> None:
    with EtcdCluster(1, tmp_path) as cluster:
        early = EtcdStore(cluster.endpoints, username="root", password="secret")
        begin = put(early, "/a", b"before authentication was switched on")
        watch = early.watch("/", begin + 1)
        sign_in_root(cluster)
        put(early, "/a", b"1")
        store = EtcdStore(cluster.endpoints, username="root", password="secret")
        put(store, "/a", b"2")
        # A member forgets the tokens that it gave when it starts anew.
        cluster.kill()
        cluster.start()
        put(store, "/a", b"3")
        store.keep_alive(store.grant_lease(60))
        assert [change.value for change in collect(watch, 3)] == [b"1", b"2", b"3"]
        for wrong, message in (
            (EtcdStore(cluster.endpoints), "wants a user name and a password"),
            (EtcdStore(cluster.endpoints, username="root", password="guess"), "does not accept this user name"),
        ):
            with pytest.raises(StoreUnavailable, match=message) as caught:
                put(wrong, "/a")
            assert "guess" not in str(caught.value)
            wrong.close()
        early.close()
        store.close()


def openssl(folder: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)


def make_certificates(folder: Path) -> None:
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl(folder, "req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=ca", "-days", "2")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n")
    for name in ("server", "client"):
        openssl(folder, "req", *curve, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names")
        openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", *signed)


def test_tls_both_ways(tmp_path: Path) -> None:
    make_certificates(tmp_path)
    file = tmp_path.joinpath
    flags = ["--cert-file", str(file("server.pem")), "--key-file", str(file("server.key"))]
    flags += ["--trusted-ca-file", str(file("ca.pem")), "--client-cert-auth"]
    with EtcdCluster(1, file("etcd"), flags, scheme="https") as cluster:
        endpoints = [f"https://{endpoint}" for endpoint in cluster.endpoints]
        store = EtcdStore(endpoints, ca_cert=file("ca.pem"), cert=file("client.pem"), key=file("client.key"))
        watch = store.watch("/", put(store, "/a", b"1"))
        assert [change.value for change in next_batch(watch).changes] == [b"1"]
        store.close()
        for stranger in (
            EtcdStore(endpoints, ca_cert=file("ca.pem"), timeout_s=1),
            EtcdStore(endpoints, timeout_s=1),
            EtcdStore(cluster.endpoints, timeout_s=1),
        ):
            with pytest.raises(StoreUnavailable):
                put(stranger, "/a", b"2")
            stranger.close()
