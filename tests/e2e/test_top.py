"""hato top on a terminal of its own: what it shows, the keys it takes, and that nothing from outside steers it."""
import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import termios
import time

import pytest

from test_daemon import campaign, daemon, held  # noqa: F401 (fixtures)

WORLD = """
return { isps = {
  big = { domains = { "big.test" }, mx = { "mx.big.test" }, address = "127.0.52.1" },
  slow = { domains = { "slow.test" }, mx = { "mx.slow.test" }, address = "127.0.52.2", delay = "300 ms" },
  evil = { domains = { "evil.test" }, mx = { "mx.evil.test" }, address = "127.0.52.3",
           replies = { { phase = "banner", reply = "554 5.7.1 \\194\\1552J\\226\\128\\174owned" } } },
  mix = { domains = { "mix.test" }, mx = { "mx.mix.test" }, address = "127.0.52.4",
          replies = { { phase = "rcpt", to = "^busy", reply = "450 4.2.0 come back later" },
                      { phase = "rcpt", to = "^none", reply = "550 5.1.1 no such user" } } },
  held = { domains = { "held.test" }, mx = { "mx.held.test" }, address = "127.0.51.4" },
} }
"""


class Terminal:
    """A program on a pseudo-terminal; page() is what a person sees after the last painting."""

    def __init__(self, command, columns=80, lines=24):
        self.main, side = os.openpty()
        self.lines, self.seen = lines, b""
        self.resize(columns, lines)
        self.before = termios.tcgetattr(side)
        self.side = side
        self.process = subprocess.Popen([str(w) for w in command], stdin=side, stdout=side, stderr=side,
                                        start_new_session=True)

    def resize(self, columns, lines):
        self.lines = lines
        fcntl.ioctl(self.main, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def read(self, seconds=0.05):
        while select.select([self.main], [], [], seconds)[0]:
            try:
                got = os.read(self.main, 65536)
            except OSError:
                return
            if not got:
                return
            self.seen += got

    def key(self, text):
        os.write(self.main, text.encode())

    def page(self):
        self.read()
        frames = self.seen.split(b"\x1b[H")
        whole = [f for f in frames[1:] if f.endswith(b"\x1b[J")]
        if not whole:
            return ""
        return re.sub(r"\r+\n", "\n", re.sub(r"\x1b\[(\d*m|K|J)", "", whole[-1].decode()))

    def until(self, true, seconds=120):
        end = time.monotonic() + seconds
        while not true(self.page()):
            assert time.monotonic() < end, self.page() or self.seen
        return self.page()

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.main)
        os.close(self.side)


@pytest.fixture
def busy(daemon):
    """One campaign that a limit holds, one that is delivered, one that is refused with evil words."""
    daemon.script('hato.limit { by = { "campaign" }, rate = "3/h" }\n' + campaign("夏祭り", "slow.csv") +
                  campaign("fast", "big.csv") + campaign("bad", "evil.csv"))
    daemon.people("slow.csv", *[f"p{i}@slow.test" for i in range(50)])
    daemon.people("big.csv", "a@big.test")
    daemon.people("evil.csv", "a@evil.test")
    daemon.start()
    daemon.until(lambda: len(daemon.events("delivered")) >= 2)
    return daemon


@pytest.fixture
def screen(busy, hato):
    t = Terminal([hato, "top", "--state", busy.state])
    yield t
    t.end()


def test_a_person_looks_changes_the_view_and_quits(screen):
    page = screen.until(lambda p: "mx.slow.test" in p)
    assert len(page.split("\n")) == 24 and all(len(line) <= 80 for line in page.split("\n")), page
    assert re.search(r"mx\.slow\.test +49 ", page), page
    assert re.search(r"1\d min [\d s]*: rat", page), page
    assert re.search(r"QUEUED\* +FLY +CONN +/S +OK", page), page
    assert "queued" in page and "in flight" in page
    screen.key("c")
    page = screen.until(lambda p: "夏祭り" in p)
    assert re.search(r"夏祭り +49 ", page), page
    assert re.search(r"1\d min [\d s]*: rat", page), page
    screen.key("p")
    screen.until(lambda p: "default > mx.slow." in p)
    screen.key("s")
    screen.until(lambda p: re.search(r"^default +", p, re.M) and "mx.slow.test" not in p)
    screen.key("h")
    screen.until(lambda p: "stop the picture" in p)
    screen.key("q")
    assert screen.process.wait(60) == 0
    screen.read()
    assert screen.seen.endswith(b"\x1b[0m\x1b[?25h\x1b[?1049l"), screen.seen[-80:]
    assert termios.tcgetattr(screen.side) == screen.before


def test_rows_are_sorted_as_people_ask(screen):
    def first(page):
        lines = page.split("\n")
        return lines[4].split()[0] if len(lines) > 4 else ""

    screen.until(lambda p: first(p) == "mx.slow.test")  # most queued
    screen.key("<")
    screen.until(lambda p: "RECEIVER*" in p and first(p) == "mx.big.test")
    screen.key("r")
    screen.until(lambda p: "RECEIVER^" in p and first(p) == "mx.slow.test")


def test_it_follows_the_size_of_its_window(screen):
    screen.until(lambda p: "mx.slow.test" in p)
    screen.resize(40, 8)
    screen.process.send_signal(signal.SIGWINCH)
    page = screen.until(lambda p: len(p.split("\n")) == 8)
    assert all(len(line) <= 40 for line in page.split("\n")), page
    assert "mx.slow.test" in page


def test_it_stands_still_and_moves_through_its_rows_as_people_ask(screen):
    screen.resize(100, 6)    # room for one
    screen.process.send_signal(signal.SIGWINCH)
    screen.until(lambda p: len(p.split("\n")) == 6 and "mx.slow.test" in p)
    for key, shown in (("\x1b[B", "mx.evil.test"), ("\x1b[A", "mx.slow.test"), ("\x1b[F", "mx.big.test"),
                       ("\x1b[H", "mx.slow.test"), ("\x1b[6~", "mx.evil.test"), ("\x1b[5~", "mx.slow.test")):
        screen.key(key)
        screen.until(lambda p: p.split("\n")[4].startswith(shown))
    screen.key(" ")
    screen.until(lambda p: "stopped" in p)
    before = screen.page()
    time.sleep(2.5)
    assert screen.page() == before
    screen.key(" ")
    screen.until(lambda p: p.split("  ")[1] > before.split("  ")[1])    # the time goes on


def test_each_figure_is_what_happened(daemon, held):
    daemon.script(campaign("letters", "mix.csv") + campaign("open", "held.csv"))
    daemon.people("mix.csv", "a@mix.test", "b@mix.test", "busy1@mix.test", "busy2@mix.test", "busy3@mix.test", "none@mix.test")
    daemon.people("held.csv", "a@held.test")
    daemon.start()
    daemon.until(lambda: daemon.queue()[0] == {**daemon.queue()[0], "deferred": 3, "in_flight": 1, "waiting": 0})
    # A second's rate, and of the last minute what was taken, put off and refused.
    daemon.until(lambda: re.search(r"^mx\.mix\.test +3 +- +[01]/1 +[\d.]+ +2 +3 +1 ", daemon.ask("top"), re.M), 20)
    page = daemon.ask("top")
    assert re.search(r"^mx\.held\.test +- +1 +1/1 +- +- +- +-", page, re.M), page
    page = daemon.ask("top", "--view", "campaign")
    assert re.search(r"^letters +3 +- +- +[\d.]+ +2 +3 +1 ", page, re.M), page
    page = daemon.ask("top", "--view", "source")
    assert re.search(r"^default +- +- +\d/\d+ +[\d.]+ +2 +3 +1 ", page, re.M), page


def test_what_receivers_say_cannot_steer_the_terminal(screen):
    screen.resize(200, 24)
    page = screen.until(lambda p: "owned" in p)
    assert "\\u202eowned" in page, page  # a mark that turns the direction, and C1's CSI
    assert "\u009b" not in page and "\u202e" not in page


@pytest.mark.parametrize("how", ["\x03", "sigterm"])
def test_the_terminal_is_as_it_was_however_it_ends(screen, how):
    screen.until(lambda p: "mx.slow.test" in p)
    if how == "sigterm":
        screen.process.terminate()
    else:
        screen.key(how)
    assert screen.process.wait(60) == 0
    assert termios.tcgetattr(screen.side) == screen.before


def test_a_hato_that_ends_is_told_in_the_picture(screen, busy):
    screen.until(lambda p: "mx.slow.test" in p)
    busy.program.stop(signal.SIGKILL)
    page = screen.until(lambda p: "no hato runs on" in p)
    assert "mx.slow.test" in page  # what was seen last stays


def test_without_a_terminal_it_prints_once(busy):
    out = busy.ask("top")
    assert "\x1b" not in out
    assert re.search(r"^mx\.slow\.test +49 .*$", out, re.M), out
    out = busy.ask("top", "--once", "--view", "campaign")
    assert re.search(r"^夏祭り +49 ", out, re.M), out
    assert "--view is isp" in busy.ask("top", "--view", "isps", code=2)
    busy.program.stop(signal.SIGKILL)
    assert "hato top: no hato runs on" in busy.ask("top", code=1)
