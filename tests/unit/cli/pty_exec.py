"""``newbon exec -it`` against a command that tells what reaches it; ``q`` ends it with code 5."""

import queue

from cli_fakes import FakeClient, FakeExec

from newbon_core.cli.main import root
from newbon_core.cli.session import Session


class Talking(FakeExec):
    def __init__(self) -> None:
        super().__init__(code=5)
        self.said: queue.Queue[bytes | None] = queue.Queue()

    def output(self):
        while (piece := self.said.get()) is not None:
            yield piece

    def write(self, data: bytes) -> None:
        self.said.put(None if data == b"q" else f"key {data!r}\r\n".encode())

    def resize(self, rows: int, columns: int) -> None:
        self.said.put(f"size {rows}x{columns}\r\n".encode())


class Client(FakeClient):
    def exec(self, name, command, **wanted):
        session = Talking()
        session.said.put(f"ready {wanted['rows']}x{wanted['columns']}\r\n".encode())
        return session


session = Session(token="t", server="http://newbon.example:7800", make_client=lambda *_: Client())
root.main(["exec", "-it", "web-1", "--", "sh"], obj=session)
