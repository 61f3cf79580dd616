"""What every end-to-end test needs: the program, a free port, processes that end with their test; and how the tests
are spread over the processes of pytest-xdist, which scripts/test runs them in."""
import contextlib
import itertools
import os
import pathlib
import queue
import signal
import socket
import subprocess
import threading
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PATIENCE_S = 120    # how long what is sure to happen may take where a machine has much else to do


@pytest.hookimpl(tryfirst=True)  # before xdist reads the marks
def pytest_collection_modifyitems(items):
    """With --dist loadgroup: tests that share what a fixture made for their file run in one process, so that it is made
    once; all others wherever there is room."""
    for item in items:
        fixtures = item._fixtureinfo.name2fixturedefs.values()
        if any(some[-1].scope == "module" for some in fixtures):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


class Ports:
    """Ports that go to nobody else between choice and bind: not to another test, process or run, as a block of them
    belongs to the process that has bound its first; nor to some program's connection, as they lie below those that
    the kernel chooses from."""
    FIRST, END, BLOCK = 10000, 32000, 200

    def __init__(self):
        for first in range(self.FIRST, self.END, self.BLOCK):
            self.claim = socket.socket()
            try:
                self.claim.bind(("127.0.0.1", first))
                break
            except OSError:
                self.claim.close()
        else:
            raise RuntimeError("every block of ports is taken")
        self.block = itertools.cycle(range(first + 1, first + self.BLOCK))

    def take(self):
        """A port that nobody has at any address, over TCP and UDP."""
        for port in itertools.islice(self.block, self.BLOCK):
            with socket.socket() as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
                with contextlib.suppress(OSError):
                    tcp.bind(("0.0.0.0", port))
                    udp.bind(("0.0.0.0", port))
                    return port
        pytest.fail("no free port")


PORTS = Ports()


class Program:
    """A process in the background. Its lines are kept, and when (time.time()) they were read; stop() returns its exit
    code."""

    def __init__(self, command, **options):
        self.command = [str(word) for word in command]
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                        **options)
        self.lines, self.times, self.fresh = [], [], queue.Queue()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.times.append(time.time())
            self.lines.append(line.rstrip("\n"))
            self.fresh.put(line)
        self.fresh.put(None)

    @property
    def output(self):
        return "\n".join(self.lines)

    def wait_for(self, text, seconds=PATIENCE_S):
        """Until a line has this text. Fails at once when the process ends before."""
        end = time.monotonic() + seconds
        while not any(text in line for line in self.lines):
            try:
                ended = self.fresh.get(timeout=max(0.01, end - time.monotonic())) is None
            except queue.Empty:
                ended = True
            if ended and not any(text in line for line in self.lines):
                pytest.fail(f"{' '.join(self.command)}: no \"{text}\" in\n{self.output}")
        return self

    def stop(self, signum=signal.SIGTERM, seconds=PATIENCE_S):
        if self.process.poll() is None:
            self.process.send_signal(signum)
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            pytest.fail(f"{' '.join(self.command)} did not end on {signum}\n{self.output}")
        self.reader.join(5)
        self.process.stdout.close()
        return code


@pytest.fixture(scope="session")
def hato():
    """Path of the program under test: $HATO, $HATO_BUILD/hato, or build/hato."""
    path = os.environ.get("HATO") or os.path.join(os.environ.get("HATO_BUILD", ROOT / "build"), "hato")
    assert os.access(path, os.X_OK), f"{path} is not built"
    return path


@pytest.fixture(scope="session")
def root():
    return ROOT


@pytest.fixture
def free_port():
    """A function: a port that nobody has, over TCP and UDP."""
    return PORTS.take


@pytest.fixture
def start():
    """A function: start a program; what still runs at the test's end is stopped."""
    running = []

    def begin(command, **options):
        running.append(Program(command, **options))
        return running[-1]

    yield begin
    for program in running:
        if program.process.poll() is None:
            program.process.kill()
            program.process.wait()
