"""Shares by weight, a campaign at its own cap, and urgent mail: as the receiver's log has them."""
import collections
import contextlib
import datetime
import json
import subprocess
import time

import pytest

from campaign import log_of
from conftest import PORTS, Program

# An accepted message may leave when the journal is on disk, and its own is made.
DURABLE_S = 0.05

WORLD = """
return { isps = { isp = { domains = { "a.test", "b.test" }, mx = { "mx.isp.test" }, address = "127.0.91.1",
                          extensions = { "PIPELINING", "8BITMIME" }, delay = "%s" } } }
"""

HEAD = """local hato = require "hato"
hato.isp "isp" { mx = "isp.test", %(isp)s }
%(more)s
local function news(name, weight)
  local stream = hato.stream(name) { from = name .. " <" .. name .. "@example.test>", bounce = name .. ".example.test",
                                     weight = weight }
  hato.campaign(name) { stream = stream, to = hato.csv(name .. ".csv"), subject = "Hello", text = "Dear reader.\\n" }
end
"""


def people(folder, name, n):
    (folder / f"{name}.csv").write_text("email\n" + "".join(f"{name}{i}@{'ab'[i % 2]}.test\n" for i in range(n)))


@contextlib.contextmanager
def receiver(hato, folder, delay="0 ms"):
    """hato sink with FOLDER/sink.log, which keeps no mail."""
    (folder / "world.lua").write_text(WORLD % delay)
    port, dns_port = PORTS.take(), PORTS.take()
    sink = Program([hato, "sink", "--world", folder / "world.lua", "--port", port, "--dns", f"127.0.0.1:{dns_port}",
                    "--discard", "--log", folder / "sink.log"])
    sink.to = ["--smtp-port", str(port), "--dns", f"127.0.0.1:{dns_port}"]
    try:
        sink.wait_for("sink: ready")
        yield sink
    finally:
        assert sink.stop() == 0, sink.output


def seconds(time_text):
    return datetime.datetime.fromisoformat(time_text.replace("Z", "+00:00")).timestamp()


def taken(folder):
    """(seconds, stream, address) of each message that was taken, in the receiver's order."""
    return [(seconds(t["time"]), t["from"].partition("@")[2].partition(".")[0], t["to"][0])
            for t in log_of(folder / "sink.log") if t["taken"]]


def sent(folder):
    """(seconds, stream)"""
    return [(at, name) for at, name, _ in taken(folder)]


def run(hato, folder, n):
    with receiver(hato, folder) as sink:
        done = subprocess.run([hato, "run", folder / "init.lua", "--state", folder / "state", "--yes", "--json", *sink.to],
                              capture_output=True, text=True, timeout=60, check=True)
    counts = json.loads(done.stdout)
    assert counts["accepted"] == counts["delivered"] == n, done.stderr
    return sent(folder)


def test_campaigns_of_weights_three_and_one_share_an_isp_three_to_one(hato, tmp_path):
    (tmp_path / "init.lua").write_text(HEAD % {"isp": "connections = 10", "more": ""} +
                                       'news("light", 1)\nnews("heavy", 3)\n')
    people(tmp_path, "light", 6000)
    people(tmp_path, "heavy", 12000)
    order = [name for _, name in run(hato, tmp_path, 18000)]
    both = max(order.index("light"), order.index("heavy"))
    share = collections.Counter(order[both:both + 10000])
    assert 0.98 * 7500 <= share["heavy"] <= 1.02 * 7500, share
    assert 0.98 * 2500 <= share["light"] <= 1.02 * 2500, share


def test_a_campaign_at_its_own_cap_does_not_hold_up_another(hato, tmp_path):
    """One path, one connection: what waits for its own permit is in nobody's way."""
    (tmp_path / "init.lua").write_text(
        HEAD % {"isp": "connections = 1", "more": 'hato.limit { by = { "campaign", "isp" }, rate = "50/s" }'} +
        'news("long", 1)\nnews("short", 1)\n')
    people(tmp_path, "long", 300)
    people(tmp_path, "short", 60)
    times = collections.defaultdict(list)
    for at, name in run(hato, tmp_path, 360):
        times[name].append(at)
    assert 5.9 <= times["long"][-1] - times["long"][0] <= 8, "300 at 50/s are 6 s"
    assert 1.1 <= times["short"][-1] - times["short"][0] <= 2, "60 at 50/s are 1.2 s, whoever else waits"


URGENT = """
local tx = hato.stream "urgent" { from = "shop@example.test", bounce = "urgent.example.test", priority = "urgent" }
local n = 0
hato.every("400 ms", function()
  n = n + 1
  hato.send { stream = tx, to = "order" .. n .. "@a.test", key = "order-" .. n, subject = "Order", text = "Thank you.\\n" }
end)
"""


@pytest.mark.parametrize("newsletters, rate", [(1000000, ""), (20000, 'rate = "8/s"')])
def test_an_urgent_message_leaves_behind_one_connections_current_message(hato, tmp_path, newsletters, rate):
    (tmp_path / "init.lua").write_text(HEAD % {"isp": f"connections = 1, {rate}", "more": ""} +
                                       'news("bulk", 1)\n' + URGENT)
    people(tmp_path, "bulk", newsletters)
    with receiver(hato, tmp_path, "20 ms") as sink:
        daemon = Program([hato, "serve", tmp_path / "init.lua", "--state", tmp_path / "state", *sink.to])
        try:
            end = time.monotonic() + 60
            while [name for _, name in sent(tmp_path)].count("bulk") < 50:
                assert time.monotonic() < end, daemon.output
                time.sleep(0.2)
        finally:
            daemon.stop()
    log = sent(tmp_path)
    begun = log[[name for _, name in log].index("bulk")][0]  # everybody is in by then
    events = subprocess.run([hato, "events", "--type", "delivered", "--json", "--state", tmp_path / "state"],
                            capture_output=True, text=True, timeout=60, check=True).stdout.splitlines()
    accepted = {e["recipient"]: seconds(e["time"]) - (e["queued_ms"] + e["send_ms"]) / 1000
                for e in map(json.loads, events)}
    before = []
    for at, name, to in taken(tmp_path):
        if name == "urgent" and accepted[to] > begun:
            since = accepted[to] + DURABLE_S
            before.append(sum(1 for when, other, _ in taken(tmp_path) if other == "bulk" and since < when <= at))
    assert len(before) >= 8 and max(before) <= 1, before
