"""What receivers' answers put in place: found in a simulation, kept through kill -9, lifted by hand."""
import collections
import json
import signal
import subprocess

import pytest

from campaign import plain_script
from test_daemon import campaign, daemon  # noqa: F401 (a fixture)

HOURLY = """
hato.isp "q" { mx = "q.test", rate = "%(offer)d/h" }
hato.on("events", function(batch)
  for _, e in ipairs(batch) do print(e.type, math.floor(e.time / 3600000)) end
end)
"""


def simulate(hato, folder, world, script, people, *words):
    folder.mkdir(exist_ok=True)
    (folder / "world.lua").write_text(world)
    (folder / "people.csv").write_text("email\n" + "".join(f"{p}\n" for p in people))
    (folder / "init.lua").write_text('local hato = require "hato"\n' + script)
    done = subprocess.run([hato, "sim", folder / "init.lua", "--world", folder / "world.lua", "--json", *words],
                          capture_output=True, text=True, check=True, timeout=600)
    *lines, last = done.stdout.splitlines()
    return lines, json.loads(last), done.stderr


# Every reply that a receiver may choose to say it with; offered three times what it takes, and no rule in the script.
@pytest.mark.parametrize("quota, over, seed, hours", [
    (60, "421 4.7.28 Our system has detected an unusual rate of mail", 1, 12),
    (60, "452 4.3.1 Insufficient system storage", 7, 12),
    (960, "450 4.7.1 Please slow down", 2, 12),
    (960, "452 4.3.2 Try again later", 3, 12),
    (20000, "421 4.7.0 Try again later, closing connection", 4, 6),
])
def test_a_quota_that_nobody_told_is_found(hato, tmp_path, quota, over, seed, hours):
    world = f"""return {{ isps = {{ q = {{ domains = {{ "q.test" }}, mx = {{ "mx.q.test" }}, address = "127.0.1.1",
                accept = "{quota}/h", over = "{over}" }} }} }}"""
    lines, counts, _ = simulate(hato, tmp_path / "sim", world, plain_script(HOURLY % {"offer": 3 * quota}),
                                (f"p{i}@q.test" for i in range(quota * hours)), "--seed", str(seed))
    seen = collections.Counter(tuple(line.split("\t")) for line in lines)
    first = min(int(hour) for _, hour in seen)
    for hour in range(3, hours - 1):
        delivered, refused = (seen[kind, str(first + hour)] for kind in ("delivered", "deferred"))
        assert 0.85 * quota <= delivered <= quota, (hour, delivered, refused)
        assert refused < 0.02 * (delivered + refused), (hour, delivered, refused)
    assert counts["delivered"] == quota * hours, "and nobody was lost on the way"


# A receiver that takes X in any 3,600 seconds from each source, and twice that from its twelfth hour on.
DOUBLES = """return { isps = { q = { domains = { "q.test" }, mx = { "mx.q.test" }, address = "127.0.1.1",
             accept = { "%(x)d/h", ["12 h"] = "%(twice)d/h" }, over = %(over)s } } }"""
OFFERS = """
%(sources)s
hato.isp "q" { mx = "q.test", rate = "%(offer)d/h" }
local n = 0
hato.campaign "hello" {
  stream = hato.stream "news" { from = "News <news@news.test>" %(pool)s }, subject = "Hello", text = "Dear reader,\\n",
  to = function() n = n + 1; if n <= %(people)d then return { email = "p" .. n .. "@q.test" } end end,
}
hato.on("events", function(batch)
  for _, e in ipairs(batch) do print(e.type, math.floor(e.time / 3600000), e.source) end
end)
"""


def hours_of_a_quota_that_doubles(hato, folder, x, over, seed, sources):
    """[(delivered, refused)] of 24 hours, all sources together; no rule in the script."""
    names = [f"s{i + 1}" for i in range(sources)]
    declared = "".join(f'hato.source "{s}" {{ address = "127.0.0.{s[1]}", ehlo = "{s}.news.test" }}\n' for s in names)
    script = OFFERS % {"sources": declared + f'hato.pool "p" {{ {", ".join(map(json.dumps, names))} }}',
                       "pool": ', pool = "p"', "offer": 3 * x, "people": 40 * x * sources}
    world = DOUBLES % {"x": x, "twice": 2 * x, "over": over}
    lines, _, _ = simulate(hato, folder, world, script, [], "--seed", str(seed), "--days", "1")
    seen = collections.Counter(tuple(line.split("\t")[:2]) for line in lines if not line.startswith("accepted"))
    first = min(int(hour) for kind, hour in seen)
    refused = {kind for kind, _ in seen} - {"delivered"}
    return [(seen["delivered", str(first + h)], sum(seen[kind, str(first + h)] for kind in refused))
            for h in range(24)]


@pytest.mark.parametrize("x, over, seed, sources", [
    (60, '"421 4.7.28 unusual rate of mail"', 1, 1),
    (60, '"450 4.7.1 Please slow down"', 2, 3),
    (240, '"421 4.7.28 unusual rate of mail"', 3, 3),
    (240, '"450 4.7.1 Please slow down"', 4, 1),
    (960, '"421 4.7.28 unusual rate of mail"', 5, 1),
    (3600, '"421 4.7.28 unusual rate of mail"', 6, 1),
    # Who says nothing: the greeting, connections that end, at once or in the middle.
    (60, '{ phase = "banner", reply = "421 4.7.0 try again later" }', 7, 3),
    (60, '{ phase = "connect", disconnect = true }', 8, 1),
    (960, '{ phase = "connect", disconnect = true }', 9, 1),
    (240, '{ phase = "mail", disconnect = true }', 10, 1),
    (240, '{ phase = "rcpt", reply = "421 4.7.0 try again later" }', 11, 1),
    # Who says what may be about the person.
    (60, '{ phase = "rcpt", reply = "451 4.3.0 try later" }', 12, 1),
    (120, '{ phase = "rcpt", reply = "450 4.2.0 try later" }', 13, 3),
    (240, '{ phase = "data", reply = "452 4.3.1 no" }', 14, 1),
    (960, '{ phase = "eod", reply = "451 4.7.1 please try again later" }', 15, 1),
    (3600, '{ phase = "rcpt", reply = "451 4.3.0 Bitte später" }', 16, 1),
])
def test_a_quota_that_doubles_is_followed(hato, tmp_path, x, over, seed, sources):
    for h, (delivered, refused) in enumerate(hours_of_a_quota_that_doubles(hato, tmp_path, x, over, seed, sources)):
        most = sources * (x if h < 12 else 2 * x)
        assert delivered <= most
        if 3 <= h < 12 or h >= 18:
            assert delivered >= 0.85 * most, (h, delivered, refused)
            assert refused < 0.02 * (delivered + refused), (h, delivered, refused)


def test_one_refusal_at_a_slow_rate_does_not_retreat(hato, tmp_path):
    world = """return { isps = { q = { domains = { "q.test" }, mx = { "mx.q.test" }, address = "127.0.1.1",
               replies = { { phase = "rcpt", to = "^p30@", reply = "421 4.7.28 unusual rate of mail" } } } } }"""
    lines, counts, _ = simulate(hato, tmp_path / "sim", world, plain_script(
        HOURLY.replace("%(offer)d", "60")), (f"p{i}@q.test" for i in range(180)), "--days", "1")
    seen = collections.Counter(tuple(line.split("\t")) for line in lines)
    hours = sorted(int(hour) for kind, hour in seen if kind == "delivered")
    assert counts["delivered"] == 179 and hours[-1] - hours[0] <= 3
    assert seen["delivered", str(hours[1])] >= 58


def test_a_reply_hook_suspends_a_path_and_says_when(hato, tmp_path):
    world = """return { isps = { q = { domains = { "q.test" }, mx = { "mx.q.test" }, address = "127.0.1.1",
               replies = { { phase = "rcpt", to = "^p3@", reply = "451 4.7.1 see S3150" } } } } }"""
    script = plain_script("""
hato.isp "q" { mx = "q.test", connections = 1 }
hato.bounces { retry = { "20 h" } }
hato.on("reply", function(reply)
  if reply.text:find "S3150" then
    return { class = "blocked", act = hato.suspend { scope = "path", ["for"] = "4 h", recover = "1 s", alert = true } }
  end
end)
hato.on("events", function(batch)
  for _, e in ipairs(batch) do print(e.type, e.class, math.floor(e.time / 60000)) end
end)
""")
    lines, _, says = simulate(hato, tmp_path / "sim", world, script, (f"p{i}@q.test" for i in range(20)), "--days", "1")
    rows = [line.split("\t") for line in lines]
    refused = next(int(minute) for kind, cls, minute in rows if kind == "deferred" and cls == "blocked")
    delivered = [int(minute) - refused for kind, _, minute in rows if kind == "delivered"]
    assert len(delivered) == 19 and delivered.count(0) == 3, delivered
    assert all(240 <= minute <= 242 for minute in delivered[3:]), delivered
    assert 'suspend scope=path isp=q source=default about="" rule="reply hook" text="451 4.7.1 see S3150"' in says


S3150 = "550 5.7.1 Unfortunately, messages from [192.0.2.1] weren't sent. They are on our block list (S3150)."


def test_one_s3150_stops_every_name_of_microsoft_at_that_source(hato, tmp_path):
    """Four hundred organisations with a mail host each; the first that says it stops them all."""
    n, hosts = 400, 50
    world = "return { isps = {\n" + "".join(
        f"""m{i} = {{ domains = {{ {", ".join(f'"o{k}.test"' for k in range(i, i + hosts))} }},
                      mx = {{ {", ".join(f'"o{k}.mail.protection.outlook.com"' for k in range(i, i + hosts))} }},
                      address = "127.0.2.{i // hosts + 1}",
                      replies = {{ {{ phase = "rcpt", to = "^bad@", reply = "{S3150}" }} }} }},\n"""
        for i in range(0, n, hosts)) + "} }"
    script = plain_script("""
hato.isp "microsoft365" { rate = "60/min" }
hato.on("events", function(batch)
  for _, e in ipairs(batch) do print(e.type, math.floor(e.time / 1000)) end
end)
""")
    people = ["bad@o0.test"] + [f"p@o{i}.test" for i in range(n)]
    lines, counts, says = simulate(hato, tmp_path / "sim", world, script, people, "--days", "1")
    rows = [(kind, int(second)) for kind, second in (line.split("\t") for line in lines)]
    blocked = next(second for kind, second in rows if kind == "bounced")
    after = [second - blocked for kind, second in rows if kind == "delivered" and second > blocked + 1]
    assert counts["delivered"] == n
    assert after and min(after) >= 4 * 3600 - 1, "not one of them within the four hours"
    assert "S3150" in says and "scope=path isp=microsoft365 source=default" in says


WORLD = """return { isps = {
  q = { domains = { "q.test" }, mx = { "mx.q.test" }, address = "127.0.61.1",
        replies = { { phase = "rcpt", to = "^bad@", reply = "450 4.7.9 measure now" } } },
  r = { domains = { "r.test" }, mx = { "mx.r.test" }, address = "127.0.61.2",
        replies = { { phase = "rcpt", to = "^bad@", reply = "450 4.7.9 pause now" } } },
} }"""

RULES = """hato.isp "q" { mx = "q.test" }
hato.isp "r" { mx = "r.test" }
hato.bounces {
  { isp = "q", text = "measure now", class = "policy", after = 1,
    act = hato.suspend { ["for"] = "1 h", alert = true } },
  { isp = "r", text = "pause now", class = "policy", after = 1, act = hato.pause { "campaign", "isp" } },
}
"""


def measures(daemon):
    return [json.loads(line) for line in daemon.ask("queue", "--measures", "--json").splitlines()]


def test_measures_are_listed_outlive_kill_and_are_lifted_by_hand(daemon):
    daemon.script(RULES + campaign("one", "a.csv"))
    daemon.people("a.csv", "bad@q.test", "bad@r.test")
    daemon.start()
    daemon.until(lambda: len(measures(daemon)) == 2)
    by_kind = {m["measure"]: m for m in measures(daemon)}
    suspend, pause = by_kind["suspend"], by_kind["pause"]
    assert (suspend["scope"], suspend["isp"], suspend["source"]) == ("path", "q", "default")
    assert suspend["rule"].endswith("init.lua:5 rule 1") and suspend["why"] == "450 4.7.9 measure now"
    assert suspend["allows"] == "nothing goes" and suspend["since"] < suspend["until"]
    assert (pause["scope"], pause["isp"], pause["campaign"]) == ("campaign", "r", "one")
    caused = {e["isp"]: e["measure"] for e in daemon.events("deferred")}
    assert caused == {"q": suspend["name"], "r": pause["name"]}
    # In the middle of a day, by kill -9: the same, row by row, at rest and running.
    daemon.program.stop(signal.SIGKILL)
    want = [{**m, "waiting": None} for m in (suspend, pause)]
    at_rest = sorted(({**m, "waiting": None} for m in measures(daemon)), key=lambda m: m["measure"] != "suspend")
    assert at_rest == want
    daemon.script(RULES + campaign("one", "a.csv") + campaign("two", "b.csv"))
    daemon.people("b.csv", "x@q.test", "y@q.test", "z@r.test")
    daemon.start()
    daemon.until(lambda: {m["measure"]: m["waiting"] for m in measures(daemon)}.get("suspend") == 2)
    again = sorted(({**m, "waiting": None} for m in measures(daemon)), key=lambda m: m["measure"] != "suspend")
    assert again == want
    daemon.until_delivered(1)  # campaign two is not paused at r
    assert f"{suspend['name']}  suspend, nothing goes: source default at q: 450 4.7.9 measure now" in daemon.ask(
        "queue", "--measures")
    # By hand.
    assert "a measure is lifted" in daemon.ask("pause", f"measure={suspend['name']}", code=2)
    assert "there is no measure" in daemon.ask("resume", "measure=M99", code=1)
    daemon.ask("resume", f"measure={suspend['name']}")
    daemon.until_delivered(3)
    assert [m["name"] for m in measures(daemon)] == [pause["name"]]
    daemon.program.stop(signal.SIGKILL)
    assert [m["name"] for m in measures(daemon)] == [pause["name"]]
