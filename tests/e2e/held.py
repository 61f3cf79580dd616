"""A receiver in the hands of a test: it answers no final dot before it is told to. While it holds one, a transaction is
open, and stays open; and how many are delivered is not a matter of time."""
import contextlib
import re
import socketserver
import threading

from campaign import running_sink
from conftest import PATIENCE_S


class Talk(socketserver.StreamRequestHandler):
    def handle(self):
        self.say("220 mx.held.test")
        to = None
        for line in self.rfile:
            word = line[:4].upper()
            if word == b"EHLO":
                self.server.came.append((self.client_address[0], line[5:].decode().strip()))
            if word == b"RCPT":
                to = line.decode().partition("<")[2].partition(">")[0]
            if word == b"DATA":
                self.say("354 go on")
                self.hold(to)
            elif word == b"QUIT":
                self.say("221 bye")
                return
            else:
                self.say("250 ok")

    def hold(self, to):
        for line in self.rfile:
            if line == b".\r\n":
                self.server.holding.release()
                self.server.may_go.acquire()
                if self.server.answer[0] == "2":
                    self.server.took.append(to)
                self.say(self.server.answer)
                return

    def say(self, text):
        self.wfile.write(text.encode() + b"\r\n")


class Held(socketserver.ThreadingTCPServer):
    """took: to whom it has taken mail, as often as it has; came: the address and EHLO name of who came; answer: what it
    says to the final dot in the end."""
    daemon_threads = allow_reuse_address = True
    answer = "250 taken"

    def __init__(self, address, port):
        super().__init__((address, port), Talk)
        self.holding, self.may_go, self.took = threading.Semaphore(0), threading.Semaphore(0), []
        self.came = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address):
        """Who was held may be gone."""

    def holds(self):
        """Until one more message is here as a whole, and has no answer."""
        assert self.holding.acquire(timeout=PATIENCE_S), "nobody came"

    def let_go(self, n=1000000):
        """The next n are answered; without n all, from now on."""
        self.may_go.release(n)

    def close(self):
        self.let_go()
        self.shutdown()
        self.server_close()


@contextlib.contextmanager
def held_sink(hato, folder, address):
    """running_sink() of FOLDER/world.lua for all its addresses but this one, which .held is the receiver of."""
    world = (folder / "world.lua").read_text()
    played = [a for a in re.findall(r'address = "(.*?)"', world) if a != address]
    with running_sink(hato, folder, listen=played) as sink:
        sink.held = Held(address, sink.port)
        try:
            yield sink
        finally:
            sink.held.close()
