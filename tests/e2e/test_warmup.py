"""Warm-ups: the published curves in a simulation, and hato warmup, hand and kill against a hato that runs."""
import datetime
import json
import pathlib
import re
import signal
import subprocess
import time

import pytest

from campaign import log_of
from test_daemon import HEAD, campaign, daemon  # noqa: F401 (a fixture)
from test_limits import never_ahead, times_of

GOLDEN = json.loads((pathlib.Path(__file__).parent.parent / "golden/warmup/curves.json").read_text())

SIM = """
local hato = require "hato"
%s
local news = hato.stream "news" { from = "News <news@news.test>", pool = %s }
local n = 0
hato.campaign "hello" {
  stream = news, subject = "Hello", text = "Dear reader,\\n",
  to = function() n = n + 1; if n <= %d then return { email = "p" .. n .. "@gmail.test" } end end,
}
hato.isp "gmail" { domains = "gmail.test", tls = "opportunistic" }  -- simulated receivers have no TLS
local per_hour = {}
hato.on("events", function(events)
  for _, e in ipairs(events) do
    if e.type == "delivered" then
      local key = e.source .. " " .. os.date("!%%Y-%%m-%%dT%%H", e.time / 1000)
      per_hour[key] = (per_hour[key] or 0) + 1
    end
  end
end)
hato.every("1 h", function()
  local keys = {}
  for key in pairs(per_hour) do keys[#keys + 1] = key end
  table.sort(keys)
  for _, key in ipairs(keys) do hato.log.warn("hour", { key = key, n = per_hour[key] }) end
  per_hour = {}
end)
"""


def simulate(hato, folder, script, days, *words):
    (folder / "init.lua").write_text(script)
    done = subprocess.run([hato, "sim", folder / "init.lua", "--world", "accept", "--days", str(days), "--json",
                           *words], capture_output=True, text=True, check=True, timeout=900)
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


def source(name="mx1"):
    return f'hato.source "{name}" {{ address = "127.0.0.{name[-1]}", ehlo = "{name}.news.test" }}\n'


def steps_of(days):
    return [d for i, d in enumerate(days) if not i or d != days[i - 1]]


@pytest.mark.parametrize("sources", [1, 2])
def test_the_curve_of_23_days_is_44640_mails_a_source(hato, tmp_path, sources):
    golden = GOLDEN["gmail_hourly_23_days"]
    names = [f"mx{i + 1}" for i in range(sources)]
    steps = ", ".join(map(str, steps_of(golden["days"])))
    head = "".join(source(n) + f'hato.warmup "{n}" {{ isp = "gmail", window = {{ "01:00", "05:00" }}, hold = 3, '
                   f'curve = {{ {steps} }} }}\n' for n in names)
    pool = "{ " + ", ".join(f'"{n}"' for n in names) + " }"
    script = SIM % (head + f'hato.pool "bulk" {pool}', '"bulk"', 100000)
    counts, _ = simulate(hato, tmp_path, script, 23)
    assert counts["delivered"] == golden["total_in_window"] * sources == 44640 * sources


def hours_of(says):
    """{"2026-01-01T01": mails}"""
    hours = {}
    for line in says.splitlines():
        found = re.search(r'mx1 (\d{4}-\d\d-\d\dT\d\d)', line), re.search(r'\bn="?(\d+)', line)
        if all(found):
            hours[found[0][1]] = hours.get(found[0][1], 0) + int(found[1][1])
    return hours


def run_curve(hato, folder, curve, people, days):
    script = SIM % (source() + f'hato.warmup "mx1" {{ isp = "gmail", {curve} }}\nhato.pool "bulk" {{ "mx1" }}', '"bulk"',
                    people)
    counts, says = simulate(hato, folder, script, days)
    hours = hours_of(says)
    days_seen = {}
    for hour, n in hours.items():
        days_seen.setdefault(hour[:10], []).append(n)
    return counts, days_seen


def test_the_list_of_hours_times_1_4_replays(hato, tmp_path):
    days = GOLDEN["hourly_times_1_4"]["days"][:9]
    curve = f'window = {{ "00:00", "06:00" }}, curve = {{ {", ".join(map(str, days))} }}'
    counts, seen = run_curve(hato, tmp_path, curve, 20000, len(days))
    assert counts["delivered"] == sum(days) * 6
    assert [sum(v) for _, v in sorted(seen.items())] == [d * 6 for d in days]
    assert all(n == d for (_, v), d in zip(sorted(seen.items()), days) for n in v)


def test_stages_a_day_replay(hato, tmp_path):
    stages = GOLDEN["stages_daily"]["stages"][:6]
    curve = f'curve = {{ {", ".join(map(str, stages))}, per = "day" }}, active = {{ delivered = 0.9 }}'
    counts, seen = run_curve(hato, tmp_path, curve, 30000, len(stages))
    assert counts["delivered"] == sum(stages)
    assert [sum(v) for _, v in sorted(seen.items())] == stages


def test_doubling_every_three_days_and_back_from_960(hato, tmp_path):
    golden = GOLDEN["double_every_three_days"]
    (tmp_path / "world.lua").write_text(
        'return { isps = { gmail = { domains = { "gmail.test" }, mx = { "mx.gmail.test" }, address = "127.0.1.1", '
        'accept = "700/h", over = "421 4.7.28 rate limited" } } }')
    curve = (f'hold = {golden["hold_days"]}, window = {{ "00:00", "02:00" }}, '
             f'curve = {{ start = {golden["start"]}, factor = {golden["factor"]} }}, '
             # The path finds what the receiver takes by itself, after a refusal or two: those must be enough here.
             'retreat = { class = "rate_limited", above = 0.001, least = 1, over = "1 h", to = "previous" }')
    script = SIM % (source() + f'hato.warmup "mx1" {{ isp = "gmail", {curve} }}\nhato.pool "bulk" {{ "mx1" }}', '"bulk"',
                    30000)
    (tmp_path / "init.lua").write_text(script)
    done = subprocess.run([hato, "sim", tmp_path / "init.lua", "--world", tmp_path / "world.lua", "--days", "17",
                           "--json"], capture_output=True, text=True, check=True, timeout=120)
    back = [line for line in done.stderr.splitlines() if "goes back" in line or "back from" in line]
    assert back, done.stderr
    assert all("back from 960/h to 480/h" in line and "were rate_limited" in line and "init.lua:" in line
               for line in back), back


# --- a hato that runs ---


@pytest.fixture(autouse=True)
def one_day(request):
    """A warm-up's days are UTC's: who looks at a hato that runs does so within one."""
    left = 86400 - time.time() % 86400
    if "daemon" in request.fixturenames and left < 180:
        time.sleep(left + 1)


WARMED = ('hato.isp "big" { domains = "big.test" }\n'
          'hato.source "mx1" { address = "127.0.0.1", ehlo = "mx1.news.test" }\n'
          'hato.warmup "mx1" { isp = "big", curve = { 3600, 7200, 14400 }, hold = 2 }\n')


def warmups(daemon):  # noqa: F811
    return [json.loads(line) for line in daemon.ask("warmup", "--json").splitlines()]


def test_hato_warmup_shows_and_sets_and_it_outlives_a_kill(daemon):  # noqa: F811
    daemon.script(campaign("one", "a.csv"), head=HEAD + WARMED)
    daemon.people("a.csv", *[f"p{i}@big.test" for i in range(200)])
    daemon.start()
    daemon.until(lambda: len(daemon.events("delivered")) >= 3)
    row, = warmups(daemon)
    assert (row["source"], row["isp"], row["from"]) == ("mx1", "big", "news.test")
    assert (row["day"], row["step"], row["steps"], row["rate"], row["per"]) == (1, 1, 3, 3600, "hour")
    assert row["quota"] == 3600 * 24 and row["used"] >= 3 and row["open"] and row["next_rate"] == 7200
    assert row["place"].endswith("init.lua:5") and row["retreat"] is None
    now = datetime.datetime.now(datetime.timezone.utc)
    day = now.replace(hour=0, minute=0, second=0, microsecond=0) + datetime.timedelta(days=2)
    assert row["next_step"][:10] == day.isoformat()[:10]
    said = daemon.ask("warmup")
    assert "mx1" in said and "3,600/h" in said and "of 86,400" in said and "7,200/h at the earliest" in said
    assert "for 1 From domain" in daemon.ask("warmup", "mx1", "big", "--day", "5")
    row, = warmups(daemon)
    assert (row["day"], row["rate"], row["next_step"], row["next_rate"]) == (5, 14400, None, None)
    daemon.program.stop(signal.SIGKILL)
    rest, = warmups(daemon)
    assert (rest["day"], rest["rate"], rest["source"]) == (5, 14400, "mx1")
    daemon.start()
    row, = warmups(daemon)
    assert (row["day"], row["rate"]) == (5, 14400)
    assert "mx1" in daemon.ask("warmup", "mx1") and "nothing" in daemon.ask("warmup", "mx2")


def test_hato_warmup_says_what_it_cannot_do(daemon):  # noqa: F811
    daemon.script(campaign("one", "a.csv"), head=HEAD + WARMED)
    daemon.people("a.csv", "a@big.test")
    daemon.start()
    assert 'the script warms up no source "mx9" at "big"' in daemon.ask("warmup", "mx9", "big", "--day", "2", code=1)
    assert "from other.test" in daemon.ask("warmup", "mx1", "big", "--from", "other.test", "--day", "2", code=1)
    assert "--day wants to know of which" in daemon.ask("warmup", "--day", "2", code=2)
    assert "1 to 100,000" in daemon.ask("warmup", "mx1", "big", "--day", "100001", code=2)
    daemon.program.stop()
    assert "no hato runs" in daemon.ask("warmup", "mx1", "big", "--day", "2", code=1)


def test_a_warm_up_keeps_its_pace_through_a_kill(daemon):  # noqa: F811
    daemon.script(campaign("one", "a.csv"), head=HEAD + WARMED)
    people = [f"p{i}@big.test" for i in range(12)]
    daemon.people("a.csv", *people)
    begun = time.time()
    daemon.start()
    daemon.until(lambda: len(daemon.events("delivered")) >= 4)
    daemon.program.stop(signal.SIGKILL)
    daemon.start()
    daemon.until_delivered(12)
    times = times_of(daemon.folder / "sink.log")
    assert never_ahead(times, begun, 1, 1), "one a second, also across the restart"
    assert warmups(daemon)[0]["used"] == 12
    daemon.accounted(*people)


def rows(daemon, ids):  # noqa: F811
    """What a restart must not change: quotas, warm-up days, measures, attempts and due times of each message."""
    warm = [{k: v for k, v in row.items() if k not in ("next_permit", "open")} for row in warmups(daemon)]
    measures = [json.loads(line) for line in daemon.ask("queue", "--measures", "--json").splitlines()]
    chains = [json.loads(line) for i in ids for line in daemon.ask("why", i, "--json").splitlines()]
    messages = [(c["message"], c["state"], c["next_due"], [(e["type"], e["attempt"], e.get("next_due"))
                                                         for e in c["events"]]) for c in chains]
    queue = [{k: v for k, v in row.items() if k in ("isp", "campaign", "waiting", "in_flight", "deferred", "held")}
             for row in daemon.queue()[1]]
    return warm, measures, messages, queue


def test_a_kill_in_the_middle_of_a_day_changes_no_row(daemon):  # noqa: F811
    daemon.script(campaign("one", "a.csv"), head=HEAD + WARMED + 'hato.bounces { retry = { "30 min", "1 h" } }\n')
    people = ([f"p{i}@big.test" for i in range(5)] + [f"busy{i}@big.test" for i in range(4)] +
              [f"z{i}@big.test" for i in range(30)] + ["a@shut.test"])
    daemon.people("a.csv", *people)
    daemon.start()
    daemon.until(lambda: len(daemon.events("deferred")) >= 4 and
                 daemon.ask("queue", "--measures", "--json").strip())
    daemon.ask("pause", "isp=big")
    daemon.until(lambda: daemon.queue()[0]["in_flight"] == 0)
    time.sleep(0.3)
    ids = [f"m{i + 1}" for i in range(len(people))]
    before = rows(daemon, ids)
    assert before[0][0]["used"] >= 9 and before[1] and any(m[2] for m in before[2])
    for _ in range(2):
        daemon.program.stop(signal.SIGKILL)
        daemon.start()
        daemon.until(lambda: daemon.ask("queue", "--measures", "--json").strip())
        after = rows(daemon, ids)
        for was, now in zip(before, after):
            assert len(was) == len(now)
            for one, other in zip(was, now):
                assert one == other
    took = [t for t in log_of(daemon.folder / "sink.log") if t["taken"]]
    assert len({r for t in took for r in t["to"]}) == len(took)


def test_hato_why_names_the_warm_up(daemon):  # noqa: F811
    daemon.script(campaign("one", "a.csv"), head=HEAD + WARMED.replace("3600, ", "600, "))
    people = [f"p{i}@big.test" for i in range(5)]
    daemon.people("a.csv", *people)
    daemon.start()
    daemon.until(lambda: len(daemon.events("delivered")) >= 1)
    assert "warm-up mx1×big (600/h, day 1) of news.test (" in daemon.ask("why", people[4])
    assert "warm-up mx1×big (600/h, day 1)" in daemon.ask("queue")


ORDER_SCRIPT = """
hato.campaign "hello" {{ stream = news, to = hato.csv {{ "a.csv", map = {{ name = "氏名", last_opened = "最終開封日" }} }},
                         subject = "Hello", text = "Dear {{{{ name }}}},\\n", order = {order} }}
"""


def ordered(hato, folder, rows, order, code=0):
    (folder / "a.csv").write_text("email,氏名,最終開封日\n" + "".join(f"{a},n,{when}\n" for a, when in rows))
    (folder / "init.lua").write_text(
        'local hato = require "hato"\nlocal news = hato.stream "news" { from = "News <news@news.test>" }\n'
        'hato.limit { by = { "isp" }, rate = "10/s" }\n'
        'hato.on("events", function(events) for _, e in ipairs(events) do hato.log.warn("went", { to = e.recipient }) end '
        'end)\n' + ORDER_SCRIPT.format(order=order))
    done = subprocess.run([hato, "sim", folder / "init.lua", "--world", "accept", "--json"], capture_output=True,
                          text=True, check=False, timeout=60)
    assert done.returncode == code, done.stderr
    return re.findall(r'to="?([\w.@]+)', done.stderr), done.stderr


@pytest.mark.parametrize("order", ['"engaged"', '{ by = "last_opened" }'])
def test_who_opened_last_is_sent_to_first(hato, tmp_path, order):
    days = ["2026-01-05", "", "2026-06-30 10:00", "2025-12-31", "never", "2026-06-30 09:59", "2026-07-01"]
    rows = [(f"p{i}@big.test", day) for i, day in enumerate(days)]
    went, _ = ordered(hato, tmp_path, rows, order)
    assert went == [f"p{i}@big.test" for i in (6, 2, 5, 0, 3, 1, 4)]


def test_a_column_that_is_not_there_is_named(hato, tmp_path):
    _, says = ordered(hato, tmp_path, [("a@big.test", "")], '{ by = "opens" }', code=1)
    assert 'order names the column "opens", which the header line has not' in says
    _, says = ordered(hato, tmp_path, [("a@big.test", "")], '"newest"', code=2)
    assert 'order wants "engaged", or a column' in says
