"""Rates, as receivers see them: on time, never above the quota, and not forgotten by a process that is killed."""
import collections
import datetime
import json
import signal
import subprocess
import time

import pytest

from campaign import Campaign, log_of, plain_script, running_sink
from test_daemon import HELD, campaign as declared, daemon, held  # noqa: F401 (fixtures)
from test_why import all_whole

TICK_S = 0.01   # what clocks may differ by

WORLD = """
return { isps = {
  a = { domains = { "a.test", "aa.test" }, mx = { "mx.a.test" }, address = "127.0.71.1" },
  b = { domains = { "b.test" }, mx = { "mx.b.test" }, address = "127.0.71.2" },
} }
"""
HOLDING = f"""
return {{ isps = {{
  b = {{ domains = {{ "b.test" }}, mx = {{ "mx.b.test" }}, address = "127.0.71.2" }},
  held = {{ domains = {{ "held.test" }}, mx = {{ "mx.held.test" }}, address = "{HELD}" }},
}} }}
"""
SLOW = WORLD.replace("address =", 'delay = "40 ms", address =')


def times_of(sink_log):
    return sorted(datetime.datetime.fromisoformat(t["time"].replace("Z", "+00:00")).timestamp()
                  for t in log_of(sink_log) if t["taken"])


def never_ahead(times, begun, quota, seconds):
    """What a quota allows from the first permit on, which was not before begun. A busy machine makes mails later than
    their permits, never earlier; so what any window held is judged in simulated time, by the unit tests."""
    return all(at >= begun + i // quota * seconds - TICK_S for i, at in enumerate(times))


def people(n, domains):
    return {"people.csv": [f"p{i}@{domains[i % len(domains)]}" for i in range(n)]}


def test_a_receiver_gets_its_rate_and_another_is_not_slowed(hato, tmp_path):
    folder = tmp_path / "run"
    campaign = Campaign(hato, folder, people(300, ["a.test", "aa.test", "b.test"]),
                        plain_script('hato.isp "a" { mx = "a.test", rate = "40/s" }'))
    (folder / "world.lua").write_text(WORLD)
    with running_sink(hato, folder) as sink:
        begun = time.time()
        outcome = campaign.run(sink.port, sink.dns, "--yes")
    log = log_of(folder / "sink.log")
    outcome.account(campaign.addresses, [t["to"][0] for t in log if t["taken"]])
    a = sorted(datetime.datetime.fromisoformat(t["time"].replace("Z", "+00:00")).timestamp()
               for t in log if t["isp"] == "a")
    b = [datetime.datetime.fromisoformat(t["time"].replace("Z", "+00:00")).timestamp()
         for t in log if t["isp"] == "b"]
    assert len(a) == 200 and never_ahead(a, begun, 40, 1)
    assert len(b) == 100 and max(b) < a[-1]


def test_a_kill_does_not_give_the_quota_twice(hato, tmp_path):
    folder = tmp_path / "run"
    # A start that takes long: what was before it is as long ago as it is.
    script = plain_script('hato.limit { by = { "campaign", "isp" }, rate = "40/12 s", burst = 40 }\n'
                          'local begun = os.clock() while os.clock() - begun < 1 do end')
    campaign = Campaign(hato, folder, people(60, ["a.test", "aa.test"]), script)
    (folder / "world.lua").write_text(WORLD)
    with running_sink(hato, folder) as sink:
        first = subprocess.Popen(campaign.command(sink.port, sink.dns, "--yes"), stdout=subprocess.DEVNULL,
                                 stderr=subprocess.DEVNULL)
        end = time.monotonic() + 120
        while len(log_of(folder / "sink.log")) < 40 and time.monotonic() < end:
            time.sleep(0.1)
        first.send_signal(signal.SIGKILL)
        first.wait()
        assert len(log_of(folder / "sink.log")) == 40, "the burst went, and no more"
        outcome = campaign.run(sink.port, sink.dns, "--yes")
    times = times_of(folder / "sink.log")
    outcome_by_all = [t["to"][0] for t in log_of(folder / "sink.log") if t["taken"]]
    assert sorted(outcome_by_all) == sorted(campaign.addresses)
    assert outcome.counts["delivered"] == 20
    accepted = min(e["time"] for e in outcome.events if e["type"] == "accepted")
    begun = datetime.datetime.fromisoformat(accepted.replace("Z", "+00:00")).timestamp()    # and not before
    assert never_ahead(times, begun, 40, 12)


def test_a_simulated_receiver_that_counts_refuses_nobody(hato, tmp_path):
    folder = tmp_path / "sim"
    Campaign(hato, folder, people(500, ["a.test", "aa.test", "b.test"]),
             plain_script('hato.isp "a" { mx = "a.test", rate = "960/h" }\n'
                          'hato.limit { by = { "domain" }, rate = "7/min" }'))
    (folder / "world.lua").write_text(WORLD.replace('"127.0.71.1"', '"127.0.71.1", accept = "960/h"'))
    done = subprocess.run([hato, "sim", folder / "init.lua", "--world", folder / "world.lua", "--json"],
                          capture_output=True, text=True, check=True, timeout=60)
    counts = json.loads(done.stdout)
    assert counts["delivered"] == 500
    assert counts["events"] == 500, "delivered, and nobody deferred"
    # 167 at each of two domains at 7 a minute are 23.7 min; both together are 334 at 16 a minute, 20.8 min.
    assert 1420 <= counts["seconds"] <= 1450


def test_what_waits_longer_than_the_run_is_named_with_its_limit(hato, tmp_path):
    folder = tmp_path / "run"
    campaign = Campaign(hato, folder, people(5, ["a.test"]), plain_script('hato.isp "a" { mx = "a.test", rate = "2/d" }'))
    (folder / "world.lua").write_text(WORLD)
    with running_sink(hato, folder) as sink:
        command = campaign.command(sink.port, sink.dns, "--yes", "--wait", "1 min")
        command.remove("--json")
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert "4 wait for the limit rate 2/d of source " in done.stdout, done.stdout + done.stderr
    assert "init.lua:3), next permit in 11 h 59 min" in done.stdout, done.stdout


def carrying(events):
    """Of what was delivered: (domain, connection, when its MAIL left, when its answer came), in ms."""
    out = []
    for e in events:
        if e["type"] == "delivered":
            end = datetime.datetime.fromisoformat(e["time"].replace("Z", "+00:00")).timestamp() * 1000
            out.append((e["recipient"].split("@")[1], e["session"], end - e["send_ms"], end))
    return out


def test_connections_that_carry_a_domain_and_its_mails_on_one_are_limited(hato, tmp_path):
    folder = tmp_path / "run"
    mails_of = Campaign(hato, folder, people(120, ["a.test", "aa.test", "b.test"]),
                        plain_script('hato.limit { by = { "domain" }, connections = 1, per_connection = 15 }'))
    (folder / "world.lua").write_text(SLOW)
    with running_sink(hato, folder) as sink:
        outcome = mails_of.run(sink.port, sink.dns, "--yes")
    log = log_of(folder / "sink.log")
    outcome.account(mails_of.addresses, [t["to"][0] for t in log if t["taken"]])
    assert outcome.counts["delivered"] == 120
    assert {e["type"] for e in outcome.events} == {"accepted", "delivered"}, "waiting is never a retry"
    on_one = collections.Counter((t["peer"], t["to"][0].split("@")[1]) for t in log)
    assert max(on_one.values()) == 15
    mails = carrying(outcome.events)
    at_once = [(x, y) for x in mails for y in mails
               if x[1] < y[1] and min(x[3], y[3]) - max(x[2], y[2]) > 2]    # two clocks, each in whole ms
    assert all(x[0] != y[0] for x, y in at_once), "one connection carries mail of a domain, and no other at that time"
    assert any({x[0], y[0]} == {"a.test", "aa.test"} for x, y in at_once), "two go to the host that both have"


@pytest.mark.parametrize("daemon", [HOLDING], indirect=True, ids=["holding"])
def test_who_waits_for_a_connection_is_told_which_limit_and_there_is_no_gap(daemon, held):
    """One message is held at its final dot; while it is, nobody else of its campaign has a connection."""
    to = [f"p{i}@{domain}" for domain in ("held.test", "b.test") for i in range(12)]
    last = to[-1]
    head = """local hato = require "hato"
local news = hato.stream "news" { from = "News <news@news.test>" }
hato.limit { by = { "campaign" }, connections = 1 }
"""
    daemon.people("a.csv", *to)
    daemon.script("", head=head)
    daemon.start()
    daemon.ask("pause", "domain=b.test")
    daemon.script(declared("one", "a.csv"), head=head)
    daemon.ask("reload")
    held.holds()
    daemon.ask("resume", "domain=b.test")
    assert "for a connection to be done with such mail: connections 1 of campaign one" in daemon.ask("why", last)
    _, rows = daemon.queue()
    assert any("connections 1 of campaign one" in (row.get("why") or "") for row in rows), rows
    time.sleep(1.2)    # shorter waits are not told in words
    held.let_go()
    daemon.until_delivered(24)
    assert "limit" in all_whole(daemon, to)
    said = daemon.ask("why", last)
    assert "for the limit connections 1 of campaign one" in said and "init.lua:3" in said, said
    daemon.accounted(*to)
