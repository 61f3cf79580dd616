"""Breakers: a campaign whose list is bad and a stream that people complain about stop by themselves, at that isp alone,
stay stopped over kills, and go on when somebody says so."""
import json
import re
import signal
import subprocess

import pytest

from campaign import log_of, plain_script, running_sink
from test_inbound import STREAM, Town, arf, dsn, serving

WORLD = """
return { isps = {
  bad = { domains = { "bad.test" }, mx = { "mx.bad.test" }, address = "127.0.62.1", extensions = { "PIPELINING" },
          replies = { { phase = "rcpt", to = "^none", reply = "550 5.1.1 no such user" } } },
  good = { domains = { "good.test" }, mx = { "mx.good.test" }, address = "127.0.62.2", extensions = { "PIPELINING" },
           replies = { { phase = "rcpt", to = "^none", reply = "550 5.1.1 no such user" } } },
} }
"""


@pytest.fixture
def sink(hato, tmp_path):
    (tmp_path / "world.lua").write_text(WORLD)
    with running_sink(hato, tmp_path) as running:
        yield running


@pytest.fixture
def town(hato, tmp_path, sink):
    def make(addresses, breaker="", stream=STREAM):
        return Town(hato, tmp_path, sink, addresses, plain_script(breaker, stream=stream))
    return make


def run_of(t, code):
    """The counts of a run that ends with this code; what it says is in t.says."""
    done = subprocess.run(t.command(t.sink.port, t.sink.dns, "--wait", "0"), capture_output=True, text=True, timeout=120)
    assert done.returncode == code, (done.stdout, done.stderr)
    t.says = done.stderr
    return json.loads(done.stdout)


def ask(t, *words, code=0):
    done = subprocess.run([t.hato, *words, "--state", t.state], capture_output=True, text=True, timeout=60)
    assert done.returncode == code, (words, done.stdout, done.stderr)
    return done.stdout


def measures(t):
    return [json.loads(line) for line in ask(t, "queue", "--measures", "--json").splitlines()]


def breakers(t):
    return [m for m in measures(t) if (m.get("rule") or "").startswith("breaker")]


def people(n, every, domain="bad.test"):
    """Every so many-th is not known there."""
    return [f"{'none' if i % every == 0 else 'p'}{i}@{domain}" for i in range(n)]


def test_a_bad_list_stops_at_that_isp_and_the_run_says_so(town):
    t = town(people(2000, 5) + people(600, 25, "good.test"))
    counts = run_of(t, 1)
    ended = counts["delivered"] + counts["bounced"]
    by_isp = {row["isp"]: row for row in counts["isps"]}
    bad = by_isp["mx.bad.test"]
    assert 500 <= bad["delivered"] + bad["bounced"] <= 500 + 40    # and what was in flight
    assert by_isp["mx.good.test"]["delivered"] + by_isp["mx.good.test"]["bounced"] == 600    # 4 %: a warning
    assert counts["deferred"] == 2600 - ended
    assert re.search(r"hello at mx\.bad\.test was stopped by 1\d\d hard errors in 500 attempts \(2\d\.\d\d %\)", t.says)
    assert 'breaker warns campaign="hello" isp=mx.good.test' in t.says
    stop, = breakers(t)
    assert (stop["measure"], stop["scope"], stop["campaign"], stop["isp"], stop["until"]) == (
        "pause", "campaign", "hello", "mx.bad.test", None)
    assert stop["rule"] == "breaker: hard errors" and "hard errors in 500 attempts" in stop["why"]
    said = ask(t, "why", "p1999@bad.test")    # which it stopped before it ever went
    assert f"Waiting: measure {stop['name']} (pause, nothing goes) by breaker: hard errors: {stop['why']}." in said, said
    assert f"`hato resume measure={stop['name']}`" in said


def test_it_outlives_kills_and_is_lifted_by_hand_with_counts_that_begin_anew(town):
    t = town(people(3000, 5))
    run_of(t, 1)
    before = len(t.events())
    name = breakers(t)[0]["name"]
    assert run_of(t, 1)["delivered"] == 0    # nothing more goes
    with serving(t) as daemon:
        assert [m["name"] for m in breakers(t)] == [name]
        daemon.stop(signal.SIGKILL)
    with serving(t) as daemon:
        assert [m["name"] for m in breakers(t)] == [name]
        assert len(t.events()) == before
        assert "waiting" in ask(t, "why", "p2999@bad.test").lower() and "breaker" in ask(t, "why", "p2999@bad.test")
        ask(t, "resume", f"measure={name}")
        t.until(lambda: len(breakers(t)) == 1 and breakers(t)[0]["name"] != name)    # 500 more, then again
        assert "hard errors in 500 attempts" in breakers(t)[0]["why"]
        daemon.stop(signal.SIGKILL)
    with serving(t):
        assert breakers(t)[0]["name"] != name
    t.accounted()


def test_counts_outlive_a_kill(town):
    t = town(people(450, 5))
    with serving(t) as daemon:
        t.until(lambda: len(log_of(t.folder / "sink.log")) >= 300)    # in the middle
        daemon.stop(signal.SIGKILL)
    run_of(t, 0)
    assert breakers(t) == []
    t.more(people(550, 5)[450:])
    with serving(t) as daemon:
        t.until(lambda: breakers(t))
        assert "hard errors in 500 attempts" in breakers(t)[0]["why"]    # those before too
        daemon.stop(signal.SIGKILL)
    assert breakers(t)


def test_what_was_before_the_lifting_does_not_count_after_a_kill_either(town):
    t = town(people(600, 5))
    run_of(t, 1)
    with serving(t) as daemon:
        ask(t, "resume", f"measure={breakers(t)[0]['name']}")
        t.until(lambda: len(log_of(t.folder / "sink.log")) >= 600)
        daemon.stop(signal.SIGKILL)
    t.more(people(660, 5)[600:])
    assert run_of(t, 0)["accepted"] == 60
    assert breakers(t) == [] and len(log_of(t.folder / "sink.log")) >= 660


def test_late_bounces_count_and_the_script_sets_the_bars(town):
    bars = 'hato.breaker { errors = { least = 20, warn = 0.2, stop = 0.5 } }\n'
    t = town([f"p{i}@bad.test" for i in range(20)], bars)
    run_of(t, 0)
    paths = {x["to"][0]: x["from"] for x in log_of(t.folder / "sink.log")}
    with serving(t):
        for address in t.addresses[:9]:
            t.put(dsn(paths[address], address))
        assert t.inbound()["bounced"] == 9 and breakers(t) == []
        t.put(dsn(paths[t.addresses[9]], t.addresses[9]))
        t.inbound()
        stop, = breakers(t)
        assert stop["why"] == "10 hard errors in 20 attempts (50.00 %)"


COMPLAINTS = "hato.breaker { errors = false, complaints = { least = 20, warn = 0.05, stop = 0.1 } }\n"


SIDE = """
local side = hato.stream "side" { from = "Side <side@news.test>" }
hato.campaign "aside" { stream = side, to = hato.csv "side.csv", subject = "Hello", text = "Hi." }
"""


def test_complaints_stop_the_stream_at_that_isp(town):
    t = town([f"p{i}@{d}.test" for d in ("bad", "good") for i in range(20)], COMPLAINTS + SIDE)
    (t.folder / "side.csv").write_text("email\n")
    run_of(t, 0)
    ids = {e["recipient"]: e["message_id"] for e in t.events()}

    def complain(n):
        t.put(arf(f"Message-ID: <{ids[f'p{n}@bad.test']}>\n"))
        assert t.inbound() == {"mails": 1, "complained": 1}

    complain(1)    # at rest
    assert breakers(t) == []
    with serving(t) as daemon:
        complain(2)
        stop, = breakers(t)
        assert (stop["scope"], stop["stream"], stop["isp"]) == ("one stream", "news", "mx.bad.test")
        assert stop["rule"] == "breaker: complaints" and stop["why"] == "2 complaints in 20 delivered (10.00 %)"
        daemon.stop(signal.SIGKILL)
    t.more(["new@bad.test", "new@good.test"])
    (t.folder / "side.csv").write_text("email\nside@bad.test\n")
    assert run_of(t, 1)["delivered"] == 2    # the other isp, and the other stream of this domain
    assert "news at mx.bad.test was stopped by 2 complaints" in t.says and "1 mail is unsent" in t.says
    with serving(t):
        ask(t, "resume", f"measure={stop['name']}")
        t.until(lambda: any(e["type"] == "delivered" and e["recipient"] == "new@bad.test" for e in t.events()))
        assert breakers(t) == []


def test_switched_off_nothing_stops(town):
    t = town(people(700, 2), "hato.breaker { errors = false, complaints = false }\n")
    counts = run_of(t, 0)
    assert counts["delivered"] + counts["bounced"] == 700 and breakers(t) == []


def test_in_a_simulation_they_are_the_same(town, hato):
    t = town(people(3000, 5))
    done = subprocess.run([hato, "sim", t.folder / "init.lua", "--world", t.folder / "world.lua", "--json"],
                          capture_output=True, text=True, timeout=120)
    totals = json.loads(done.stdout.splitlines()[-1])
    assert 500 <= totals["delivered"] + totals["bounced"] <= 540, done.stderr
    assert re.search(r'breaker stops campaign="hello" isp=mx\.bad\.test: \d+ hard errors in 500 attempts', done.stderr)
