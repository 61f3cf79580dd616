"""Shares by weight, a campaign at its own cap, and urgent mail: as the receiver's log has them, and on the virtual clock
where moments are judged."""
import collections
import contextlib
import datetime
import json
import re
import subprocess
import time

import pytest

from campaign import log_of
from conftest import PATIENCE_S, PORTS, Program

ROUNDED_S = 0.005    # what moments of whole milliseconds may differ by

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


def run(hato, folder, n):
    """The streams of the messages, in the receiver's order."""
    with receiver(hato, folder) as sink:
        done = subprocess.run([hato, "run", folder / "init.lua", "--state", folder / "state", "--yes", "--json", *sink.to],
                              capture_output=True, text=True, timeout=300, check=True)
    counts = json.loads(done.stdout)
    assert counts["accepted"] == counts["delivered"] == n, done.stderr
    return [name for _, name, _ in taken(folder)]


DELIVERED = """hato.on("events", function(batch)
  for _, e in ipairs(batch) do
    if e.type == "delivered" then print("DELIVERED", e.time, e.send_ms or 0, e.stream, e.recipient) end
  end
end)
"""


def simulate(hato, folder, delay, *words):
    """(when it began, stream, address) of each delivery, in their order; and what was said. Its script has DELIVERED."""
    (folder / "world.lua").write_text(WORLD % delay)
    done = subprocess.run([hato, "sim", folder / "init.lua", "--world", folder / "world.lua", "--json", *words],
                          capture_output=True, text=True, timeout=300, check=True)
    rows = [line.split("\t")[1:] for line in done.stdout.splitlines() if line.startswith("DELIVERED")]
    return sorted(((float(at) - float(took)) / 1000, name, to) for at, took, name, to in rows), done.stderr


def test_campaigns_of_weights_three_and_one_share_an_isp_three_to_one(hato, tmp_path):
    (tmp_path / "init.lua").write_text(HEAD % {"isp": "connections = 10", "more": ""} +
                                       'news("heavy", 3)\nnews("light", 1)\n')
    people(tmp_path, "light", 6000)
    people(tmp_path, "heavy", 12000)
    order = run(hato, tmp_path, 18000)
    both = max(order.index("light"), order.index("heavy"))
    share = collections.Counter(order[both:both + 10000])
    assert 0.98 * 7500 <= share["heavy"] <= 1.02 * 7500, share
    assert 0.98 * 2500 <= share["light"] <= 1.02 * 2500, share


def test_a_campaign_at_its_own_cap_does_not_hold_up_another(hato, tmp_path):
    """One path, one connection: what waits for its own permit is in nobody's way."""
    (tmp_path / "init.lua").write_text(
        HEAD % {"isp": "connections = 1", "more": DELIVERED + 'hato.limit { by = { "campaign", "isp" }, rate = "50/s" }'} +
        'news("long", 1)\nnews("short", 1)\n')
    people(tmp_path, "long", 300)
    people(tmp_path, "short", 60)
    times = collections.defaultdict(list)
    for at, name, _ in simulate(hato, tmp_path, "0 ms")[0]:
        times[name].append(at)
    assert (len(times["long"]), len(times["short"])) == (300, 60)
    assert 5.9 <= times["long"][-1] - times["long"][0] <= 6.1, "300 at 50/s are 6 s"
    assert 1.1 <= times["short"][-1] - times["short"][0] <= 1.3, "60 at 50/s are 1.2 s, whoever else waits"


URGENT = """
local tx = hato.stream "urgent" { from = "shop@example.test", bounce = "urgent.example.test", priority = "urgent" }
local n, zero = 0, os.time() - os.clock()    -- the virtual clock begins with a whole second
hato.every("400 ms", function()
  n = n + 1
  local to = "order" .. n .. "@a.test"
  hato.send { stream = tx, to = to, key = to, subject = "Order", text = "Thank you.\\n" }
  hato.log.warn("durable", { at = ("%.3f"):format(zero + os.clock()), to = to })
end)
"""


@pytest.mark.parametrize("rate", ["", 'rate = "8/s"'])
def test_an_urgent_message_leaves_behind_one_connections_current_message_simulated(hato, tmp_path, rate):
    (tmp_path / "init.lua").write_text(HEAD % {"isp": f"connections = 1, {rate}", "more": DELIVERED} +
                                       'news("bulk", 1)\n' + URGENT)
    people(tmp_path, "bulk", 1000)
    begun, says = simulate(hato, tmp_path, "20 ms")
    before = overtaken(begun, {to: float(at) for at, to in re.findall(r"durable at=(\S+) to=(\S+)", says)})
    assert len([name for _, name, _ in begun if name == "bulk"]) == 1000 and len(before) >= 100
    assert max(before) == 0, before


@pytest.mark.parametrize("newsletters, rate", [(1000000, ""), (20000, 'rate = "8/s"')])
def test_an_urgent_message_leaves_behind_one_connections_current_message(hato, tmp_path, newsletters, rate):
    (tmp_path / "init.lua").write_text(HEAD % {"isp": f"connections = 1, {rate}", "more": ""} +
                                       'news("bulk", 1)\n' + URGENT)
    people(tmp_path, "bulk", newsletters)
    with receiver(hato, tmp_path, "40 ms") as sink:
        daemon = Program([hato, "serve", tmp_path / "init.lua", "--state", tmp_path / "state", *sink.to])
        try:
            end = time.monotonic() + 2 * PATIENCE_S
            while len(overtaken(taken(tmp_path), durable(daemon))) < 10:
                assert time.monotonic() < end, daemon.output
                time.sleep(0.2)
        finally:
            daemon.stop()
    events = subprocess.run([hato, "events", "--type", "delivered", "--json", "--state", tmp_path / "state"],
                            capture_output=True, text=True, timeout=60, check=True).stdout.splitlines()
    begun = sorted((seconds(e["time"]) - e["send_ms"] / 1000, e["stream"], e["recipient"])
                   for e in map(json.loads, events))
    before = overtaken(begun, durable(daemon))
    assert len(before) >= 8 and max(before) == 0, before


def durable(daemon):
    """By address: when its message was known to be on disk, if not long before."""
    said = [(at, re.search(r'durable.*\bto="?([^"\s]+)', line)) for at, line in zip(daemon.times, daemon.lines)]
    return {found[1]: at for at, found in said if found}


def overtaken(begun, durable):
    """For each urgent message: how many of the newsletter began after it was on disk, and before itself."""
    bulk = [at for at, name, _ in begun if name == "bulk"]
    return [sum(1 for when in bulk if durable[to] + ROUNDED_S < when < at) for at, name, to in begun
            if name == "urgent" and to in durable and bulk and durable[to] > bulk[0]]    # everybody is in by then
