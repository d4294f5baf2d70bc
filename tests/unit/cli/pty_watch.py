"""A watch of instances in which one changes after a moment."""

import sys
import threading

from cli_fakes import NOW, SYNCED, FakeClient, FakeWatch, instance, put

from newbon_core.cli.main import root
from newbon_core.cli.session import Session


class Client(FakeClient):
    def watch(self, path, revision=None, *, params=None):
        watch = FakeWatch([put(instance("web-1", state="pending")), SYNCED], ends=False)
        threading.Timer(0.6, watch.queue.put, [put(instance("web-1"))]).start()
        return watch


session = Session(token="t", server="http://newbon.example:7800", now=lambda: NOW, make_client=lambda *_: Client())
root.main(sys.argv[1:], obj=session)
