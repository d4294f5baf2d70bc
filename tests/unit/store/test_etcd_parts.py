"""The parts of the etcd store that need no etcd: descriptors, what errors mean, fragments, settings."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2

from newbon_core.config import StoreConfig
from newbon_core.store import etcd_stubs
from newbon_core.store.base import Compacted, LeaseExpired, StoreUnavailable, TransactionTooLarge, WatchBatch
from newbon_core.store.etcd import EtcdStore
from newbon_core.store.etcd_errors import Verdict, refusal, verdict
from newbon_core.store.etcd_link import Security, rpc, split_endpoint
from newbon_core.store.etcd_watch import EtcdWatch
from newbon_core.store.open import open_store
from newbon_core.store.sqlite import SqliteStore

# --- descriptors ---


def described() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="x.proto", package="x", syntax="proto3")
    file.dependency.extend(["gogoproto/gogo.proto", "google/api/annotations.proto", "kv.proto"])
    message = file.message_type.add(name="Thing")
    field = message.field.add(name="é", number=1, type=descriptor_pb2.FieldDescriptorProto.TYPE_BYTES, label=1)
    field.options.deprecated = True
    file.options.java_package = "x"
    return file


@pytest.mark.parametrize("form", ["FileDescriptor(name='x', serialized_pb=_b({text}))", "AddSerializedFile({raw})"])
def test_a_descriptor_is_read_out_of_either_form_of_generated_code(tmp_path: Path, form: str) -> None:
    raw = described().SerializeToString()
    source = tmp_path / "x_pb2.py"
    call = form.format(text=repr(raw.decode("latin1")), raw=repr(raw))
    source.write_text(f"raise SystemExit('this must not run')\nDESCRIPTOR = pool.{call}\n", encoding="utf-8")
    assert etcd_stubs.read_descriptor(source) == described()


def test_dependencies_on_annotations_and_options_are_dropped() -> None:
    kept = etcd_stubs._without_options(described())
    assert list(kept.dependency) == ["kv.proto"]
    assert not kept.HasField("options")
    assert not kept.message_type[0].field[0].HasField("options")


def test_another_package_of_that_name_is_refused_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ImportError, match=r"has no rpc_pb2.py: expected version 0.12.0"):
        etcd_stubs.read_descriptor(tmp_path / "rpc_pb2.py")
    (tmp_path / "rpc_pb2.py").write_text("DESCRIPTOR = None\n")
    with pytest.raises(ImportError, match="holds no serialized descriptor"):
        etcd_stubs.read_descriptor(tmp_path / "rpc_pb2.py")


def test_messages_know_what_servers_learnt_since() -> None:
    request = rpc.WatchRequest(create_request=rpc.WatchCreateRequest(key=b"a", fragment=True))
    assert rpc.WatchRequest.FromString(request.SerializeToString()).create_request.fragment
    request.progress_request.SetInParent()
    assert request.WhichOneof("request_union") == "progress_request"


# --- errors ---


class Failure(grpc.RpcError):
    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        self._code, self._details = code, details

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._details


@pytest.mark.parametrize(
    ("code", "details", "expected"),
    [
        ("UNAVAILABLE", "failed to connect to all addresses; last error: refused", Verdict.NOT_DONE),
        ("UNAVAILABLE", "etcdserver: no leader", Verdict.NOT_DONE),
        ("RESOURCE_EXHAUSTED", "etcdserver: too many requests", Verdict.NOT_DONE),
        ("UNAVAILABLE", "Socket closed", Verdict.UNKNOWN),
        ("UNAVAILABLE", "etcdserver: request timed out, possibly due to previous leader failure", Verdict.UNKNOWN),
        ("UNAVAILABLE", "etcdserver: leader changed", Verdict.UNKNOWN),
        ("DEADLINE_EXCEEDED", "Deadline Exceeded", Verdict.UNKNOWN),
        ("UNKNOWN", "", Verdict.UNKNOWN),
        ("UNAUTHENTICATED", "etcdserver: invalid auth token", Verdict.SIGN_IN),
        ("INVALID_ARGUMENT", "etcdserver: revision of auth store is old", Verdict.SIGN_IN),
        ("PERMISSION_DENIED", "etcdserver: permission denied", Verdict.REFUSED),
        ("RESOURCE_EXHAUSTED", "etcdserver: mvcc: database space exceeded", Verdict.REFUSED),
    ],
)
def test_only_what_certainly_did_not_happen_may_be_repeated(code: str, details: str, expected: Verdict) -> None:
    assert verdict(Failure(grpc.StatusCode[code], details)) is expected


@pytest.mark.parametrize(
    ("code", "details", "kind", "message"),
    [
        ("OUT_OF_RANGE", "etcdserver: mvcc: required revision has been compacted", Compacted, "compacted"),
        ("NOT_FOUND", "etcdserver: requested lease not found", LeaseExpired, "lease not found"),
        ("INVALID_ARGUMENT", "etcdserver: too many operations in txn request", TransactionTooLarge, "too many"),
        ("INVALID_ARGUMENT", "etcdserver: request is too large", TransactionTooLarge, "too large"),
        ("RESOURCE_EXHAUSTED", "etcdserver: mvcc: database space exceeded", StoreUnavailable, "defragment it"),
        ("PERMISSION_DENIED", "etcdserver: permission denied", StoreUnavailable, "does not permit this user"),
    ],
)
def test_refusals_are_told_in_sentences(code: str, details: str, kind: type[Exception], message: str) -> None:
    error = refusal(Failure(grpc.StatusCode[code], details), "host:2379")
    assert type(error) is kind
    assert message in str(error)
    assert "host:2379" in str(error)


# --- a watch's stream ---


class OneStream:
    """A member whose stream tells what it is given and then stays silent, and the link to it."""

    closed = False

    def __init__(self, *responses: Any) -> None:
        self.members = [self]
        self.responses: Any = responses
        self.address = "fake:1"
        self.connected = True
        self.watch = self
        self.cancelled = threading.Event()

    def metadata(self, _member: object) -> tuple[tuple[str, str], ...]:
        return ()

    def connect(self, _timeout_s: float) -> None: ...

    def Watch(self, requests: Any, metadata: object) -> OneStream:
        self.asked, self.metadata_seen = next(iter(requests)), metadata
        return self

    def __iter__(self) -> Any:
        yield from self.responses
        self.cancelled.wait()

    def cancel(self) -> None:
        self.cancelled.set()


def answer(*events: tuple[str, int], fragment: bool = False) -> Any:
    response = rpc.WatchResponse(fragment=fragment)
    for key, revision in events:
        response.events.add().kv.MergeFrom(response.events[-1].kv.__class__(key=key.encode(), mod_revision=revision))
    return response


def drain(watch: EtcdWatch, count: int) -> list[WatchBatch]:
    batches: list[WatchBatch] = []
    while sum(len(batch.changes) for batch in batches) < count:
        batch = watch.poll(5)
        assert batch is not None
        batches.append(batch)
    return batches


def test_a_fragment_that_ends_within_a_revision_waits_for_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    responses = [
        answer(("/a", 4), ("/a", 5), ("/b", 5), fragment=True),
        answer(("/c", 5), fragment=True),
        answer(("/d", 5), ("/a", 6), fragment=True),
        answer(("/b", 6)),
    ]
    stream = OneStream(*responses)
    taken: list[list[tuple[str, int]]] = []
    put = EtcdWatch._put
    monkeypatch.setattr(
        EtcdWatch,
        "_put",
        lambda self, batch: (taken.append([(c.key, c.revision) for c in batch.changes]), put(self, batch)),
    )
    watch = EtcdWatch(stream, lambda _prefix: ([], 1), "/", 5)
    drain(watch, 6)
    watch.close()
    assert taken == [[("/a", 5), ("/b", 5), ("/c", 5), ("/d", 5)], [("/a", 6), ("/b", 6)]]
    assert stream.asked.create_request.start_revision == 4, "one earlier, so that a compaction of it shows"
    assert ("hasleader", "true") in stream.metadata_seen


def test_what_nobody_takes_stays_with_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("newbon_core.store.etcd_watch._ROOM", 10)
    read: list[int] = []

    def responses() -> Any:
        for revision in range(2, 102):
            read.append(revision)
            yield answer(("/a", revision))

    stream = OneStream()
    stream.responses = responses()
    watch = EtcdWatch(stream, lambda _prefix: ([], 1), "/", 2)
    deadline = time.monotonic() + 5
    while len(read) < 12 and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(0.02)
    assert len(read) <= 13
    assert [change.revision for batch in drain(watch, 100) for change in batch.changes] == [*range(2, 102)]
    watch.close()


# --- settings ---


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("127.0.0.1:2379", ("127.0.0.1", "2379", False)),
        ("http://etcd-1:2379/", ("etcd-1", "2379", False)),
        ("https://[::1]:2379", ("[::1]", "2379", True)),
    ],
)
def test_an_endpoint_is_host_and_port(endpoint: str, expected: tuple[str, str, bool]) -> None:
    assert split_endpoint(endpoint) == expected


@pytest.mark.parametrize("endpoint", ["etcd-1", "ftp://a:1", ":2379", "a:b", ""])
def test_what_is_no_endpoint_is_said(endpoint: str) -> None:
    with pytest.raises(StoreUnavailable, match="is no endpoint of etcd: expected host:port"):
        split_endpoint(endpoint)


def test_half_of_a_pair_of_settings_is_said(tmp_path: Path) -> None:
    for wrong in ({"cert": tmp_path}, {"username": "root"}, {"ca_cert": tmp_path / "absent.pem"}):
        with pytest.raises(StoreUnavailable, match="etcd: "):
            EtcdStore(["a:1"], **wrong)
    assert "secret" not in repr(Security(username="root", password="secret"))


def test_the_site_s_store_is_opened(tmp_path: Path) -> None:
    store = open_store(StoreConfig(), tmp_path / "data")
    assert isinstance(store, SqliteStore)
    assert (tmp_path / "data" / "newbon.db").exists()
    store.close()
    (tmp_path / "password").write_text("secret\n")
    config = StoreConfig(kind="etcd", endpoints=("a:1",), username="root", password_file=tmp_path / "password")
    store = open_store(config, tmp_path)
    assert isinstance(store, EtcdStore)
    store.close()
    with pytest.raises(StoreUnavailable, match="password file of the store cannot be read"):
        open_store(StoreConfig(kind="etcd", username="root", password_file=tmp_path / "absent"), tmp_path)
