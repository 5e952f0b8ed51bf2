"""A server that answers what a test tells it to, in place of a Memcached."""

import socket
from threading import Thread


class FakeServer:
    """A server that sends one of `answers` for each line; adds the lines to `received`.

    Its address is what `with` gives. It takes one connection.
    """

    def __init__(self, answers, received):
        self.answers, self.received = answers, received

    def __enter__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.thread = Thread(target=self.serve)
        self.thread.start()
        return f"127.0.0.1:{self.listener.getsockname()[1]}"

    def serve(self):
        connection, _ = self.listener.accept()
        with connection, connection.makefile("rb") as lines:
            for answer in self.answers:
                self.received.append(lines.readline())
                connection.sendall(answer)

    def __exit__(self, *args):
        self.thread.join(5)
        self.listener.close()
