"""A full disk: it refuses new mail in plain words, delivers what it has, and with room again it loses and doubles
nobody. The disk is tests/e2e/small_disk.c, preloaded, so it takes neither root nor a mount."""
import collections
import json
import os
import re
import subprocess
import time

import pytest

from campaign import FINAL, Campaign, Outcome, log_of, plain_script, running_sink
from conftest import PATIENCE_S, ROOT

RESERVE_BYTES = 16 << 20    # what hato sets aside for outcomes

WORLD = """
return { isps = {
  a = { domains = { "a.test" }, mx = { "mx.a.test" }, address = "127.0.43.1", delay = "5 ms",
        extensions = { "PIPELINING" },
        replies = { { phase = "rcpt", to = "^none", reply = "550 5.1.1 no such user" } } },
  b = { domains = { "b.test" }, mx = { "mx.b.test" }, address = "127.0.43.2", delay = "10 ms" },
} }
"""


def people(n, first=0):
    """Every twentieth is not known to the receiver. A row is some 3,000 bytes."""
    return [{"email": f"{'none' if i % 20 == 0 else 'p'}{i}@{'ab'[i % 2]}.test", "note": f"{i} " + "x" * 3000}
            for i in range(first, first + n)]


@pytest.fixture(scope="module")
def preload(tmp_path_factory):
    path = tmp_path_factory.mktemp("preload") / "small_disk.so"
    source = ROOT / "tests" / "e2e" / "small_disk.c"
    subprocess.run(["gcc", "-D_GNU_SOURCE", "-Wall", "-Werror", "-shared", "-fPIC", "-o", path, source], check=True)
    return path


# So slow that the disk changes in the middle.
SLOW = "".join(f'hato.isp "{isp}" {{ mx = "mx.{isp}.test", connections = 2 }}\n' for isp in "ab")


class Town(Campaign):
    """A campaign whose state lies on a small disk, and its receivers."""

    def __init__(self, hato, folder, sink, preload, n):
        super().__init__(hato, folder, {"people.csv": people(n)}, plain_script(SLOW))
        self.sink, self.size = sink, folder / "disk_bytes"
        asan = ":".join(filter(None, [os.environ.get("ASAN_OPTIONS"), "verify_asan_link_order=0"]))
        self.environment = {**os.environ, "LD_PRELOAD": str(preload), "DISK_FOLDER": str(self.state),
                            "DISK_SIZE": str(self.size), "ASAN_OPTIONS": asan}

    def disk(self, size=None):
        """The disk has so many bytes from now on. None: more than anybody needs."""
        if size is None:
            self.size.unlink()
            return
        fresh = self.size.with_suffix(".new")
        fresh.write_text(str(size))
        fresh.rename(self.size)    # never seen half written

    def disk_size(self):
        return int(self.size.read_text())

    def used(self):
        return sum(path.stat().st_size for path in self.state.iterdir())

    def begin(self, *words):
        return subprocess.Popen(self.command(self.sink.port, self.sink.dns, *words), text=True, env=self.environment,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def end(self, process, code=0):
        out, says = process.communicate(timeout=180)
        assert process.returncode == code, out + says
        return out, says

    def taken(self):
        return [a for t in log_of(self.folder / "sink.log") if t["taken"] for a in t["to"]]

    def transactions(self):
        path = self.folder / "sink.log"    # its last line may be half written
        return path.read_bytes().count(b"\n") if path.exists() else 0

    def wait_until(self, reached, process):
        end = time.monotonic() + PATIENCE_S
        while not reached():
            assert time.monotonic() < end and process.poll() is None, process.communicate()
            time.sleep(0.01)

    def account(self, out, says, carried=0):
        """Everybody once, by events of all runs and by what receivers took. carried: accepted by runs before."""
        counts, taken = json.loads(out.splitlines()[-1]), self.taken()
        ends = collections.Counter(e["type"] for e in self.events())
        counts.update(accepted=counts["accepted"] + carried, **{kind: ends[kind] for kind in FINAL})
        Outcome(0, json.dumps(counts), says, self.events()).account(self.addresses, taken)
        unknown = {a for a in self.addresses if a.startswith("none") and a.endswith("@a.test")}
        assert unknown and collections.Counter(taken) == collections.Counter(set(self.addresses) - unknown)


@pytest.fixture
def town(hato, tmp_path, preload):
    (tmp_path / "world.lua").write_text(WORLD)
    with running_sink(hato, tmp_path) as sink:
        yield lambda n: Town(hato, tmp_path, sink, preload, n)


def test_people_for_whom_there_is_no_room_are_told_and_taken_in_when_there_is(town):
    t = town(600)
    t.disk(RESERVE_BYTES + (1 << 20))
    accepted = []
    for _ in range(2):
        out, says = t.end(t.begin("--wait", "5 s"), code=1)
        assert "No space left on device" in says and str(t.state) in says
        assert re.search(r'campaign "hello": .* taken in: the disk of the state folder, or .*, is full', says)
        counts = json.loads(out.splitlines()[-1])
        accepted.append(counts["accepted"])
        assert counts["deferred"] == sum(accepted) and counts["delivered"] == 0
        assert counts["known"] == sum(accepted[:-1])
        assert not log_of(t.folder / "sink.log"), "nobody knows yet that this is whom the mail is for"
    assert 0 < sum(accepted) < 600 and accepted[1] == 0
    t.disk()
    out, says = t.end(t.begin("--wait", "10 s"))
    assert json.loads(out.splitlines()[-1])["known"] == sum(accepted)
    t.account(out, says, sum(accepted))


def test_a_disk_that_fills_stops_new_mail_and_not_what_waits(town):
    """Up to the reserve: outcomes are written, over a restart too."""
    t = town(600)
    run = t.begin("--wait", "30 s")
    t.wait_until(lambda: t.transactions() >= 20, run)
    t.disk(t.used())
    t.wait_until(lambda: not (t.state / "reserve").exists(), run)
    t.wait_until(lambda: t.transactions() >= 100, run)
    run.terminate()
    _, says = t.end(run)
    assert "No space left on device" in says
    assert t.used() < t.disk_size(), "what the reserve had is there for outcomes"
    left = len(t.addresses) - len([e for e in t.events() if e["type"] in FINAL])
    assert left
    t.disk(t.used() + left * 400)    # room for what waits and, by far, for no reserve
    out, says = t.end(t.begin("--wait", "30 s"))
    assert "no room for the reserve: no new mail is taken" in says
    t.account(out, says, len(t.addresses))


def test_nothing_begins_on_a_disk_without_any_room_and_with_room_the_run_goes_on(town):
    t = town(600)
    run = t.begin("--wait", "30 s")
    t.wait_until(lambda: t.transactions() >= 20, run)
    t.disk(0)
    t.wait_until(lambda: not (t.state / "reserve").exists(), run)
    stood = 0
    while stood != t.transactions():    # what was in flight ends
        stood = t.transactions()
        time.sleep(0.5)
    assert stood < 500
    t.disk()
    out, says = t.end(run)
    assert "No space left on device" in says
    t.account(out, says)
