"""hato run, killed: nothing that was accepted is lost, and what is doubled was in flight.

The journal is read by spool_dump (tests/judges), what receivers took from the sink's log. HATO_DEEP=1 kills ten
times, HATO_SOAK=1 a hundred; HATO_SEED=N repeats the moments of a run.
"""
import collections
import json
import os
import pathlib
import random
import re
import resource
import signal
import subprocess
import time

import pytest

SEED = int(os.environ.get("HATO_SEED") or random.SystemRandom().randrange(1 << 32))
SOAK, DEEP = bool(os.environ.get("HATO_SOAK")), bool(os.environ.get("HATO_DEEP"))
KILLS = 100 if SOAK else 10 if DEEP else 3

WORLD = """
return { isps = {
  a = { domains = { "a.test", "aa.test" }, mx = { "mx.a.test" }, address = "127.0.31.1",
        extensions = { "PIPELINING", "8BITMIME" },
        replies = { { phase = "rcpt", to = "^none", reply = "550 5.1.1 no such user" } } },
  b = { domains = { "b.test" }, mx = { "mx1.b.test", "mx2.b.test" }, address = { "127.0.31.2", "127.0.31.3" },
        extensions = { "SIZE 1000000" } },
  c = { domains = { "c.test" }, mx = { "mx.c.test" }, address = "127.0.31.4", extensions = { "PIPELINING" },
        replies = { { phase = "eod", to = "^later", share = 0.5, reply = "451 4.3.2 try later" } } },
} }
"""

SCRIPT = """
local hato = require "hato"
local news = hato.stream "news" { from = "Example News <news@sender.test>" }
hato.bounces { retry = { "1 s", give_up = "1 h" } }
hato.campaign "hello" { stream = news, to = hato.csv "people.csv", %s
                        subject = "Hello {{ name }}", text = "Dear {{ name }},\\nwelcome.\\n" }
"""

DOMAINS = ["a.test", "b.test", "c.test", "aa.test"]


def people(n, first=0):
    """Every fiftieth at a.test is not known there; every fiftieth at c.test is put off now and then."""
    for i in range(first, first + n):
        domain = DOMAINS[i % 4]
        local = {(0, 0): "none", (2, 0): "later"}.get((i % 4, i // 4 % 50), "person")
        yield f"{local}{i}@{domain}"


def is_unknown(address):
    return address.startswith("none")


class Rig:
    """A script, its people, its state folder, and receivers."""

    def __init__(self, folder, hato, start, free_port, options="", more=""):
        self.folder, self.hato, self.state = folder, hato, folder / "state"
        self.dump = pathlib.Path(hato).parent / "spool_dump"
        (folder / "init.lua").write_text(SCRIPT % options + more)
        (folder / "world.lua").write_text(WORLD)
        self.csv, self.log = folder / "people.csv", folder / "sink.log"
        self.csv.write_text("email,name\n")
        self.people, self.seen_bytes, self.seen_lines = [], 0, 0
        dns, port = free_port(), free_port()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.sink = start([hato, "sink", "--world", folder / "world.lua", "--port", port,
                           "--dns", f"127.0.0.1:{dns}", "--log", self.log]).wait_for("sink: ready")
        self.command = [hato, "run", folder / "init.lua", "--state", self.state, "--dns", f"127.0.0.1:{dns}",
                        "--smtp-port", str(port), "--wait", "30 s", "--yes"]

    def add_people(self, n):
        fresh = list(people(n, len(self.people)))
        with self.csv.open("a") as f:
            f.writelines(f"{address},Taro {i}\n" for i, address in enumerate(fresh))
        self.people += fresh

    def begin(self, program=None, **environment):
        return subprocess.Popen([program or self.command[0], *self.command[1:]], text=True, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, env={**os.environ, **environment})

    def run(self, seconds=300):
        """To the end. (known, new), and what it printed on standard output."""
        process = self.begin()
        out, err = process.communicate(timeout=seconds)
        assert process.returncode == 0, err
        known, new = re.search(r"hello: ([\d,]+) known, ([\d,]+) new", err).groups()
        return (int(known.replace(",", "")), int(new.replace(",", ""))), out

    def bytes_of(self, kind):
        sizes = 0
        for path in self.state.glob(f"{kind}-*"):
            try:
                sizes += path.stat().st_size
            except FileNotFoundError:   # rewritten just now
                pass
        return sizes

    def transactions(self):
        """How many lines the sink's log has; cheap to ask again."""
        with self.log.open("rb") as f:
            f.seek(self.seen_bytes)
            fresh = f.read()
        self.seen_bytes += len(fresh)
        self.seen_lines += fresh.count(b"\n")
        return self.seen_lines

    def records(self):
        done = subprocess.run([self.dump, self.state], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def taken(self):
        """How often receivers took each address."""
        count = collections.Counter()
        for line in self.log.read_text().splitlines():
            entry = json.loads(line)
            if entry["taken"]:
                count.update(entry["to"])
        return count

    def account(self, kills):
        """Everyone is accounted for exactly once. Both counts are printed."""
        taken, address, accepted, open_, cut = self.taken(), {}, collections.Counter(), {}, collections.Counter()
        ends = collections.Counter()
        for r in self.records():
            assert r["type"] != "unreadable", r
            if r["type"] in ("recipient", "key"):
                accepted[r["key"]] += 1
            if r.get("to"):    # of a recipient that is settled and was rewritten its events say who it was
                address[r["id"]] = r["to"]
            if r["type"] == "begin":
                cut[r["id"]] += open_.get(r["id"], False)    # it had begun, and the end never came
                open_[r["id"]] = True
            elif r["type"] == "event":
                open_[r["id"]] = False
                ends[r["id"], r["what"]] += r["what"] in ("delivered", "bounced", "expired")
        cut_of = collections.Counter()
        for number, n in cut.items():
            cut_of[address[number]] += n
        lost = [p for p in self.people if not is_unknown(p) and not taken[p]]
        doubled = {p: n - 1 for p, n in taken.items() if n > 1}
        in_flight = sum(cut.values())
        print(f"seed {SEED}, {kills} kills, {len(self.people)} recipients: lost {len(lost)}, "
              f"doubled {sum(doubled.values())}, in flight when killed {in_flight}")
        assert not lost
        assert not any(open_.values())
        assert set(taken) <= set(self.people)
        assert all(n <= cut_of[p] for p, n in doubled.items()), doubled
        assert sum(doubled.values()) <= in_flight
        assert len(accepted) == len(self.people) == sum(accepted.values())
        want = {(i, "bounced" if is_unknown(to) else "delivered"): 1 for i, to in address.items()}
        assert {end: n for end, n in ends.items() if n} == want
        return in_flight


@pytest.fixture
def rig(tmp_path, hato, start, free_port):
    return lambda options="", more="": Rig(tmp_path, hato, start, free_port, options, more)


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def kill_when(process, reached, then=0.0, seconds=120):
    """Some time after reached(). False: it ended by itself before, which a machine that is busy elsewhere lets it do."""
    end = time.monotonic() + seconds
    while process.poll() is None and not reached():
        assert time.monotonic() < end, "no progress"
        time.sleep(0.001)
    time.sleep(then)
    if process.poll() is not None:
        out, err = process.communicate()
        assert process.returncode == 0, err
        return False
    kill(process)
    return True


def test_kills_at_random_moments_lose_nobody_and_double_only_what_was_in_flight(rig):
    rng, r = random.Random(SEED), rig()
    r.add_people(20000)
    kills = 0
    # Moments by progress, so that they lie all over the run however fast the machine is, and some time on top.
    for share in sorted(rng.random() for _ in range(KILLS)):
        moment = share * 0.9 * len(r.people)
        while not kill_when(r.begin(), lambda: r.transactions() >= moment, rng.random() * 0.1):
            r.add_people(20000)
            moment = len(r.people) - 20000 * rng.random()
        kills += 1
    r.run()
    r.account(kills)


def test_killed_while_it_reads_people_each_gets_one_mail(rig):
    """Held back by `at`, so that this is reading alone; then the script lets it go for those who came last."""
    rng, r = random.Random(SEED + 1), rig('at = "2099-01-01",')
    r.command[r.command.index("--wait") + 1] = "0"
    n = 1000000 if SOAK else 100000
    r.add_people(n)
    row_bytes, kills = 100, 3
    for share in sorted(rng.random() * 0.5 for _ in range(kills)):  # far from its end: the kill may come late
        while not kill_when(r.begin(), lambda: r.bytes_of("recipients") >= share * n * row_bytes):
            r.add_people(n)
            share, n = share / 2 + 0.5, 2 * n
    had = sum(1 for record in r.records() if record["type"] == "recipient")
    assert 0 < had < n
    assert r.run()[0] == (had, n - had)
    r.add_people(12)
    assert r.run()[0] == (n, 12)
    assert r.run()[0] == (n + 12, 0)
    accepted = collections.Counter(record["to"] for record in r.records() if record["type"] == "recipient")
    print(f"seed {SEED}, {kills} kills, {n} rows: {had} were there, lost {len(set(r.people) - set(accepted))}, "
          f"doubled {sum(accepted.values()) - len(accepted)}")
    assert accepted == collections.Counter(r.people)
    assert not r.transactions()


def test_people_who_are_added_get_mail_and_the_others_no_second_one(rig):
    r = rig()
    r.add_people(500)
    assert r.run()[0] == (0, 500)
    r.add_people(12)
    assert r.run()[0] == (500, 12)
    assert r.run()[0] == (512, 0)
    assert not r.account(0)
    assert max(r.taken().values()) == 1


FAILPOINTS = {    # step: how often to pass it before the kill
    "spool.create.after": [1, 2, 3],
    "spool.write.before": [1, 2, 3, 10, 40, 100],
    "spool.write.after": [1, 2, 3, 10, 40, 100],
    "spool.sync.before": [1, 2, 3, 4, 6],
    "spool.sync.between": [1, 2, 3, 4, 6],
    "spool.sync.after": [1, 2, 3, 4, 6],
    "spool.rewrite.before": [1],
    "spool.rewrite.named": [1],
    "spool.rewrite.after": [1],
}


@pytest.mark.parametrize("point", FAILPOINTS)
def test_killed_at_a_step_of_the_spool(rig, point):
    # A slow disk is asked less often: mail that goes on for a long time is synced as often as it takes.
    r, kills = rig(more='hato.limit { by = { "campaign" }, rate = "20/s" }' if "sync" in point else ""), 0
    program = pathlib.Path(r.hato).parent / "hato_failpoints"
    for nth in FAILPOINTS[point]:
        r.add_people(200)
        if "rewrite" in point:
            r.run()    # what is settled is rewritten at the next start
            r.add_people(200)
        process = r.begin(program, HATO_FAILPOINT=f"{point}:{nth}")
        _, err = process.communicate(timeout=120)
        assert process.returncode == -signal.SIGKILL, (nth, process.returncode, err)
        kills += 1
    (r.folder / "init.lua").write_text(SCRIPT % "")
    r.run()
    r.account(kills)


KEYLESS = """
local hato = require "hato"
local tx = hato.stream "tx" { from = "Example <tx@sender.test>", priority = "urgent" }
for i = 1, 20 do
  local key = hato.args.batch == "second" and "order " .. i or nil
  local id, why, code = hato.send { stream = tx, to = hato.args.batch .. i .. "@b.test", subject = "Hello",
                                    text = "Hello", key = key }
  assert(id or code == "exists", why)
end
"""


def test_killed_when_a_segment_was_dropped(rig):
    """What was sent without a key leaves nothing behind: its segment is dropped, not rewritten."""
    r, runs = rig(), []
    (r.folder / "init.lua").write_text(KEYLESS)
    r.command += ["--set", "batch=first"]
    runs.append(r.begin())
    runs[-1].communicate(timeout=60)
    r.command[-1] = "batch=second"
    runs.append(r.begin(pathlib.Path(r.hato).parent / "hato_failpoints", HATO_FAILPOINT="spool.drop.after:1"))
    runs[-1].communicate(timeout=120)
    runs.append(r.begin())
    runs[-1].communicate(timeout=60)
    assert [run.returncode for run in runs] == [0, -signal.SIGKILL, 0]
    taken, begun, open_, cut = r.taken(), {}, {}, 0
    for record in r.records():
        if record["type"] == "begin":
            cut += open_.get(record["id"], False)
            open_[record["id"]] = True
        elif record["type"] == "event":
            open_[record["id"]] = False
            begun.setdefault(record["to"], set()).add(record["id"])
    lost = [a for a in (f"{batch}{i}@b.test" for batch in ("first", "second") for i in range(1, 21)) if not taken[a]]
    doubled = sum(taken.values()) - len(taken)
    print(f"1 kill, 40 messages: lost {len(lost)}, doubled {doubled}, in flight when killed {cut}")
    assert not lost and len(taken) == 40 and doubled <= cut
    assert all(len(numbers) == 1 for numbers in begun.values())
    assert len(set().union(*begun.values())) == 40    # no number was given twice


def test_a_second_process_is_told_who_has_the_state_folder(rig):
    r = rig('at = "2099-01-01",')
    r.add_people(10)
    r.command[r.command.index("--wait") + 1] = "forever"
    first = r.begin()
    end = time.monotonic() + 60
    while not r.bytes_of("recipients"):
        assert time.monotonic() < end and first.poll() is None
        time.sleep(0.01)
    second = r.begin()
    _, err = second.communicate(timeout=60)
    assert second.returncode == 1
    assert f"hato run: {r.state}/lock is held by process {first.pid}" in err
    kill(first)


def held_back_then_changed(r, change):
    """People who were taken in and wait; then bytes of their segment are changed. Lets them go."""
    r.command[r.command.index("--wait") + 1] = "0"
    r.add_people(40)
    assert r.run()[0] == (0, 40)
    (path,) = r.state.glob("recipients-*")
    content = bytearray(path.read_bytes())
    change(content)
    path.write_bytes(content)
    (r.folder / "init.lua").write_text(SCRIPT % "")
    r.command[r.command.index("--wait") + 1] = "30 s"
    process = r.begin()
    out, err = process.communicate(timeout=60)
    return path, process.returncode, out, err


def test_a_bad_place_in_the_middle_is_told_and_the_rest_goes_on(rig):
    r = rig('at = "2099-01-01",')

    def change(content):
        content[len(content) // 2] ^= 1

    path, code, _, err = held_back_then_changed(r, change)
    assert code == 0
    assert re.search(re.escape(str(path)) + r": \d+ bytes at offset \d+ do not match their checksum and are left out", err)
    assert "hello: 39 known, 1 new" in err    # whose record was damaged is still in the source
    taken = r.taken()
    assert taken == collections.Counter(p for p in r.people if not is_unknown(p))


def test_a_state_folder_of_a_newer_hato_is_refused(rig):
    r = rig('at = "2099-01-01",')

    def change(content):    # the version and the header's checksum, as a newer program would write them
        content[8] = 9
        content[44:48] = crc32c(content[:44]).to_bytes(4, "little")

    path, code, _, err = held_back_then_changed(r, change)
    assert code == 1
    assert f"{path.name} is of format 9" in err
    assert not r.transactions()


def crc32c(data):
    """RFC 3720 B.4."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF
