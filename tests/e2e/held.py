"""A receiver in the hands of a test: it answers no final dot before it is told to. While it holds one, a transaction is
open, and stays open."""
import socketserver
import threading


class Talk(socketserver.StreamRequestHandler):
    def handle(self):
        self.say("220 mx.held.test")
        to = None
        for line in self.rfile:
            word = line[:4].upper()
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
                self.server.go.wait()
                self.server.took.append(to)
                self.say("250 taken")
                return

    def say(self, text):
        self.wfile.write(text.encode() + b"\r\n")


class Held(socketserver.ThreadingTCPServer):
    """took: to whom it has taken mail, as often as it has."""
    daemon_threads = allow_reuse_address = True

    def __init__(self, address, port):
        super().__init__((address, port), Talk)
        self.holding, self.go, self.took = threading.Semaphore(0), threading.Event(), []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address):
        """Who was held may be gone."""

    def holds(self):
        """Until one more message is here as a whole, and has no answer."""
        assert self.holding.acquire(timeout=60), "nobody came"

    def let_go(self):
        """From now on everything is answered."""
        self.go.set()

    def close(self):
        self.let_go()
        self.shutdown()
        self.server_close()
