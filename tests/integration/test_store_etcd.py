"""The store on a real etcd: the suite of every store."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from newbon_core.store.etcd import EtcdStore
from newbon_core.testing.etcd import EtcdCluster
from newbon_core.testing.store_conformance import StoreConformance

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
