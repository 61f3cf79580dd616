"""The suppression list from end to end: who is on it gets no mail, and what events and people put there stays, over
runs and kills."""
import csv
import io
import json
import os
import signal
import sqlite3
import subprocess
import time

import pytest

from campaign import Campaign, log_of, plain_script
from conftest import PATIENCE_S
from held import held_sink

WORLD = """
return { isps = {
  a = { domains = { "a.test" }, mx = { "mx.a.test" }, address = "127.0.47.1", extensions = { "PIPELINING" },
        replies = { { phase = "rcpt", to = "^none", reply = "550 5.1.1 no such user" },
                    { phase = "rcpt", to = "^odd", reply = "550 5.7.1 we would rather not" } } },
  held = { domains = { "held.test" }, mx = { "mx.held.test" }, address = "127.0.47.2" },
}, dns = { ["dark.test"] = "servfail" } }
"""
HELD = "127.0.47.2"


def ends(kinds):
    return {"accepted": 0, "delivered": 0, "bounced": 0, "expired": 0, "suppressed": 0, "deferred": 0, **kinds}


class Town(Campaign):
    def __init__(self, hato, folder, sink, addresses, script=None):
        super().__init__(hato, folder, {"people.csv": addresses}, script or plain_script())
        self.sink = sink

    def deliver(self, **kinds):
        outcome = self.run(self.sink.port, self.sink.dns, "--wait", "0")
        assert {k: outcome.counts[k] for k in ends({})} == ends(kinds), outcome.says
        return outcome

    def suppress(self, *words, code=0):
        done = subprocess.run([self.hato, "suppress", *map(str, words), "--state", self.state], capture_output=True,
                              text=True, timeout=60)
        assert done.returncode == code, (words, done.stdout, done.stderr)
        self.says = done.stderr
        return done.stdout

    def listed(self, *words):
        return {(s["address"], s["scope"]): s for s in map(json.loads, self.suppress("list", "--json", *words).splitlines())}

    def transactions(self):
        path = self.folder / "sink.log"    # its last line may be half written
        return path.read_bytes().count(b"\n") if path.exists() else 0

    def taken(self):
        return sorted(a for t in log_of(self.folder / "sink.log") if t["taken"] for a in t["to"])


@pytest.fixture
def town(hato, tmp_path):
    (tmp_path / "world.lua").write_text(WORLD)
    with held_sink(hato, tmp_path, HELD) as sink:
        yield lambda *addresses, **more: Town(hato, tmp_path, sink, addresses, **more)


def test_nobody_on_an_imported_list_gets_mail(town):
    people = [f"p{i}@a.test" for i in range(200)]
    t = town(*people)
    rows = "".join(f"P{i}@A.test,opt-out,2026-01-05,called us\r\n" for i in range(0, 200, 4))
    (t.folder / "list.csv").write_text("メールアドレス,reason,since,evidence\r\n" + rows +
                                       "nobody,opt-out,,\r\np1@a.test,opted,,\r\np2@a.test,opt-out,2026-02-30,\r\n")
    assert json.loads(t.suppress("import", t.folder / "list.csv", "--json")) == {
        "added": 50, "known": 0, "rejected_rows": 3}
    said = t.says.splitlines()
    assert [line.split(":")[1] for line in said] == ["52", "53", "54"]
    assert 'no reason "opted"' in said[1] and "2026-02-30" in said[2]
    outcome = t.deliver(accepted=200, delivered=150, suppressed=50)
    assert t.taken() == sorted(p for i, p in enumerate(people) if i % 4)
    event, = outcome.of("p4@a.test")
    assert (event["type"], event["text"], event["rule"]) == (
        "suppressed", "suppressed for all mail: opted out", "suppression")
    assert "50 known" in t.suppress("import", t.folder / "list.csv")
    t.deliver()    # once is once, also for them


def test_who_is_suppressed_ends_when_taken_in_and_waits_for_nothing(town):
    """Not only at hand-off, which mail to a domain that nobody finds never reaches."""
    t = town("a@dark.test", "b@dark.test")
    t.suppress("add", "a@dark.test")
    outcome = t.deliver(accepted=2, suppressed=1, deferred=1)
    assert [e["type"] for e in outcome.of("a@dark.test") if e["type"] != "accepted"] == ["suppressed"]


def test_a_hard_bounce_of_one_run_is_suppressed_in_the_next_and_a_block_is_not(town):
    t = town("none@a.test", "odd@a.test", "good@a.test")
    t.deliver(accepted=3, delivered=1, bounced=2)
    entry, = t.listed().values()
    bounce, = [e for e in t.events() if e["recipient"] == "none@a.test" and e["type"] == "bounced"]
    assert (entry["address"], entry["reason"], entry["expires"]) == ("none@a.test", "hard_bounce", None)
    assert entry["event"] == bounce["id"] and entry["evidence"] == "no_such_user: 550 5.1.1 no such user"
    assert entry["provisional_until"] > entry["since"]
    second = plain_script().replace('"hello"', '"second"')
    (t.folder / "init.lua").write_text('local hato = require "hato"\n' + second)
    t.deliver(accepted=3, delivered=1, bounced=1, suppressed=1)
    report = subprocess.run([t.hato, "report", "second", "--json", "--state", t.state], capture_output=True, text=True,
                            check=True)
    assert json.loads(report.stdout)["suppressed"] == 1
    why = subprocess.run([t.hato, "why", "None@a.test", "--state", t.state], capture_output=True, text=True, check=True)
    assert why.stdout.startswith("none@a.test is suppressed for all mail since ")
    assert "hard bounce (no_such_user: 550 5.1.1 no such user)" in why.stdout


def test_people_add_lift_and_scope_suppressions(town):
    t = town("one@a.test", "two@a.test", "three@a.test", "four@a.test")
    assert t.suppress("add", "one@a.test", "two@a.test", "--for", "30 days", "--evidence", "asked by phone") == "2 added\n"
    t.suppress("add", "two@a.test", "--reason", "opt-out", "--scope", "stream=news")
    t.suppress("add", "three@a.test", "--scope", "stream=orders")
    t.suppress("add", "four@a.test", "--scope", "list=vip")
    assert t.suppress("remove", "one@a.test") == "1 removed\n"
    t.suppress("remove", "two@a.test")
    t.suppress("remove", "two@a.test", "--scope", "stream=news", code=1)
    assert "two@a.test opted out: only the person lifts that; --on-their-request says that they did" in t.says
    t.suppress("remove", "four@a.test", code=1)
    assert "four@a.test is not suppressed with scope all" in t.says
    assert set(t.listed()) == {("two@a.test", "stream=news"), ("three@a.test", "stream=orders"), ("four@a.test", "list=vip")}
    assert set(t.listed("two@a.test")) == {("two@a.test", "stream=news")}
    t.deliver(accepted=4, delivered=3, suppressed=1)
    assert t.taken() == ["four@a.test", "one@a.test", "three@a.test"]
    t.suppress("remove", "two@a.test", "--scope", "stream=news", "--on-their-request")
    assert t.suppress("add", "no address", code=2) == ""
    assert "no address" in t.says
    t.suppress("add", "one@a.test", "--reason", "manuel", code=2)
    assert "did you mean manual?" in t.says


def test_what_is_exported_can_be_imported(town, tmp_path):
    t = town("none@a.test", "good@a.test")
    t.deliver(accepted=2, delivered=1, bounced=1)
    t.suppress("add", "a..b@docomo.ne.jp", "太郎@例え.jp", "--evidence", 'said "stop",\nby letter', "--for", "90 days")
    t.suppress("add", "x@y.test", "--scope", "list=vip, old", "--reason", "complaint")
    first = t.suppress("export")
    rows = list(csv.DictReader(io.StringIO(first)))
    assert [r["email"] for r in rows] == ["a..b@docomo.ne.jp", "none@a.test", "x@y.test", "太郎@xn--r8jz45g.jp"]
    (tmp_path / "all.csv").write_text(first, newline="")
    other = tmp_path / "other"
    subprocess.run([t.hato, "suppress", "import", tmp_path / "all.csv", "--state", other], check=True, capture_output=True)
    again = subprocess.run([t.hato, "suppress", "export", "--state", other], check=True, capture_output=True, text=True)
    events = {r.pop("event") for r in rows}
    rows_again = list(csv.DictReader(io.StringIO(again.stdout)))
    assert {r.pop("event") for r in rows_again} == {""} != events    # its events are another folder's
    assert rows_again == rows


def test_the_sqlite_shell_opens_the_list_at_rest_and_is_kept_out_meanwhile(town):
    t = town("none@a.test", "p@held.test")
    run = subprocess.Popen(t.command(t.sink.port, t.sink.dns, "--wait", "0"), stdout=subprocess.DEVNULL)
    query = ["sqlite3", t.state / "hato.db", "SELECT address, reason FROM suppression"]
    end = time.monotonic() + PATIENCE_S
    while "none@a.test" not in (t.suppress("list") if (t.state / "hato.db").exists() else ""):
        assert time.monotonic() < end and run.poll() is None
        time.sleep(0.02)
    assert run.poll() is None, "it is held by the other receiver"
    shell = subprocess.run(query, capture_output=True, text=True)
    assert "database is locked" in shell.stderr
    t.sink.held.let_go()
    assert run.wait(PATIENCE_S) == 0
    assert subprocess.run(query, capture_output=True, text=True, check=True).stdout == "none@a.test|hard_bounce\n"
    other = sqlite3.connect(t.state / "hato.db")    # somebody left it open
    other.execute("SELECT count(*) FROM suppression").fetchone()
    done = subprocess.run(t.command(t.sink.port, t.sink.dns), capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "hato.db: another program has it open" in done.stderr
    other.close()


def test_changes_go_to_the_hato_that_runs(town):
    """p0 to p29 wait one behind the other at a receiver; who is added meanwhile and was not reached gets nothing."""
    people = [f"p{i}@held.test" for i in range(30)]
    t = town(*people, script='hato.isp "held" { mx = { "mx.held.test" }, connections = 1 }\n' + plain_script())
    run = subprocess.Popen(t.command(t.sink.port, t.sink.dns, "--wait", "5 s"), stdout=subprocess.PIPE, text=True)
    t.sink.held.let_go(2)
    for _ in range(3):
        t.sink.held.holds()
    assert "10 added" in t.suppress("add", *people[20:])
    assert "1 removed" in t.suppress("remove", people[29])
    assert len(t.listed()) == 9
    t.sink.held.let_go()
    out, _ = run.communicate(timeout=PATIENCE_S)
    counts = json.loads(out.splitlines()[-1])
    assert (counts["delivered"], counts["suppressed"]) == (21, 9)
    assert sorted(t.sink.held.took) == sorted(people[:20] + people[29:])
    assert len(t.listed()) == 9


def test_a_bounce_is_applied_once_over_kills(town):
    """Killed at moments when some bounces have reached the database and some have not; lifted by hand in between."""
    people = [f"none{i}@a.test" for i in range(400)]
    t = town(*people, script="hato.bounces { guard = false }\n" + plain_script())
    lifted = set()
    for moment in range(6):
        run = subprocess.Popen(t.command(t.sink.port, t.sink.dns), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + PATIENCE_S
        while t.transactions() < 10 + 60 * moment:
            assert time.monotonic() < end and run.poll() is None
            time.sleep(0.002)
        run.send_signal(signal.SIGKILL)
        run.wait()
        bounced = {e["recipient"] for e in t.events() if e["type"] == "bounced"}
        one = sorted(bounced - lifted)[0]
        assert t.suppress("remove", one) == "1 removed\n"
        lifted.add(one)
        assert {address for address, _ in t.listed()} == bounced - lifted
    t.run(t.sink.port, t.sink.dns, "--wait", "0")
    assert {address for address, _ in t.listed()} == set(people) - lifted
    assert not os.path.exists(t.state / "hato.db-wal")
