"""What failures do to people: an outage that answers like unknown people, soft failures that add up, what ends, what
people decide about it. On the virtual clock where it takes days, against a sink where it takes a kill."""
import collections
import json
import signal
import subprocess
import time

import pytest

from campaign import Campaign, log_of, plain_script
from conftest import PATIENCE_S
from held import held_sink

DAILY = """
local hato = require "hato"
%(more)s
local news = hato.stream "news" { from = "News <news@news.test>" }
local function people()
  local at = 0
  local rows = { %(people)s }
  return function() at = at + 1 return rows[at] end
end
for _, day in ipairs { %(days)s } do
  hato.campaign("day" .. day) {
    stream = news, to = people(), at = os.date("!%%Y-%%m-%%d 10:00", os.time() + (day - 1) * 86400),
    subject = "Hello", text = "Dear reader\\n" }
end
hato.on("events", function(batch)
  for _, e in ipairs(batch) do print("EVENT " .. hato.json.encode(e)) end
end)
"""

WORLD = """
return { isps = {
  a = { domains = { "a.test" }, mx = { "mx.a.test" }, address = "127.0.1.1", replies = { %(a)s } },
  b = { domains = { "b.test" }, mx = { "mx.b.test" }, address = "127.0.1.2", replies = { %(b)s } },
} }
"""

UNKNOWN = '{ phase = "rcpt", %s reply = "550 5.1.1 no such user" }'
FULL = '{ phase = "rcpt", %s reply = "552 5.2.2 mailbox full" }'


class Days:
    """A script that mails everybody once on each of its days, at ten, and what became of it."""

    def __init__(self, hato, folder, people, days, a="", b="", more=""):
        rows = ", ".join('{ email = "%s" }' % p for p in people)
        (folder / "init.lua").write_text(DAILY % {"people": rows, "days": ", ".join(map(str, days)), "more": more})
        (folder / "world.lua").write_text(WORLD % {"a": a, "b": b})
        done = subprocess.run([hato, "sim", folder / "init.lua", "--world", folder / "world.lua", "--json"],
                              capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        self.says = done.stderr
        self.events = [json.loads(line.split(" ", 1)[1]) for line in (done.stdout + done.stderr).splitlines()
                       if line.startswith("EVENT ")]
        self.counts = json.loads(done.stdout.splitlines()[-1])
        assert self.counts["accepted"] == len(people) * len(days)
        assert self.counts["accepted"] == sum(self.counts[k] for k in ("delivered", "bounced", "expired", "suppressed"))

    def kinds(self, day):
        return collections.Counter(e["type"] for e in self.events
                                   if e["campaign"] == f"day{day}" and e["type"] != "deferred")

    def life(self, person):
        """What became of each day's mail to this person."""
        return [e["type"] for e in self.events if e["recipient"] == person and e["type"] != "deferred"]


def crowd(n, domain="a.test"):
    return [f"p{i}@{domain}" for i in range(n)]


# --- outages ---

def test_an_outage_of_an_hour_leaves_its_people_deliverable_the_next_day(hato, tmp_path):
    days = Days(hato, tmp_path, crowd(500), (1, 2, 3), a=UNKNOWN % 'between = { "33 h", "35 h" },')
    assert days.kinds(1) == {"delivered": 500}
    assert days.kinds(2) == {"bounced": 500}
    assert days.kinds(3) == {"delivered": 500}    # those too who bounced before the guard woke
    did = collections.Counter(e.get("person") for e in days.events if e["type"] == "bounced")
    assert did == {"suppressed": 40, "quarantined": 460}
    assert "mx.a.test is out of order, it seems: no such user in 41 of the latest 200 answers" in days.says


def test_without_the_guard_they_are_gone(hato, tmp_path):
    days = Days(hato, tmp_path, crowd(300), (1, 2, 3), a=UNKNOWN % 'between = { "33 h", "35 h" },',
                more="hato.bounces { guard = false }")
    assert days.kinds(3) == {"suppressed": 300}


def test_what_is_no_longer_provisional_is_not_taken_back(hato, tmp_path):
    gone = [f"gone{i}@a.test" for i in range(10)]
    days = Days(hato, tmp_path, gone + crowd(300), (1, 2, 3, 4),
                a=UNKNOWN % 'to = "^gone",' + "," + UNKNOWN % 'to = "^p", between = { "57 h", "59 h" },')
    assert days.kinds(1) == {"delivered": 300, "bounced": 10}
    assert days.kinds(3) == {"bounced": 300, "suppressed": 10}
    assert days.kinds(4) == {"delivered": 300, "suppressed": 10}
    days = Days(hato, tmp_path, gone + crowd(300), (1, 2, 3, 4), more='hato.bounces { provisional = "3 days" }',
                a=UNKNOWN % 'to = "^gone",' + "," + UNKNOWN % 'to = "^p", between = { "57 h", "59 h" },')
    assert days.kinds(4) == {"delivered": 300, "bounced": 10}


def test_a_flaky_minute_suppresses_nobody(hato, tmp_path):
    flaky = '{ phase = "rcpt", share = 0.3, between = { "10 h", "601 min" }, reply = "%s" }'
    days = Days(hato, tmp_path, crowd(600) + crowd(100, "b.test"), (1, 2),
                a=", ".join(flaky % r for r in ("552 5.2.2 full", "550 5.7.1 blocked", "550 5.2.1 disabled",
                                                 "451 4.3.0 try later")),
                b=flaky % "452 4.2.2 full")
    assert days.kinds(1)["bounced"] > 10
    assert days.kinds(2) == {"delivered": 700}


def test_a_list_of_unknown_people_is_cleaned_all_the_same(hato, tmp_path):
    """A third of them is unknown every day: a few days that looks like an outbreak, and then it is how they are."""
    days = Days(hato, tmp_path, [f"gone{i}@a.test" for i in range(100)] + crowd(200), (1, 2, 3, 4, 5),
                a=UNKNOWN % 'to = "^gone",')
    assert days.kinds(3) == {"delivered": 200, "bounced": 100}
    assert days.kinds(5) == {"delivered": 200, "suppressed": 100}


def test_who_is_in_quarantine_and_bounces_on_a_better_day_is_suppressed(hato, tmp_path):
    gone = ["gone@a.test"]
    days = Days(hato, tmp_path, crowd(300) + gone, (1, 2, 3, 4),
                a=UNKNOWN % 'to = "^p", between = { "33 h", "35 h" },' + "," +
                UNKNOWN % 'to = "^gone", between = { "33 h", "1000 h" },')
    assert days.life("gone@a.test") == ["delivered", "bounced", "bounced", "suppressed"]
    assert days.life("p0@a.test") == ["delivered", "bounced", "delivered", "delivered"]


# --- what adds up ---

def test_soft_failures_of_three_days_in_a_month_suppress_for_a_season(hato, tmp_path):
    days = Days(hato, tmp_path, ["full@a.test", "fine@a.test"], (1, 1.2, 10, 20, 21, 109, 111),
                a=FULL % 'to = "^full", between = { "0 h", "500 h" },')
    life = days.life("full@a.test")
    assert life == ["bounced"] * 4 + ["suppressed"] * 2 + ["delivered"]    # twice on one day is once; 90 days end
    third = [e for e in days.events if e["type"] == "bounced"]
    assert [e["person"] for e in third] == ["counted", "counted", "counted", "suppressed"]
    assert days.life("fine@a.test") == ["delivered"] * 7


@pytest.mark.parametrize("reply, life", [
    ("550 5.2.1 mailbox disabled", "bbbssssd"),      # inactive: 3 in 30 days, for 90
    ("550 5.7.1 relaying denied", "bbbssssd"),
    ("554 5.3.0 internal error", "bbbbbsdd"),        # anything else that is soft: 5 in 30 days, for 30
    ("550 5.7.1 rejected by local policy", "bbbbbbdd"),    # a block: never
])
def test_each_shipped_rule_has_its_own_patience(hato, tmp_path, reply, life):
    days = Days(hato, tmp_path, ["one@a.test"], (1, 2, 3, 4, 5, 6, 37, 94),
                a='{ phase = "rcpt", between = { "0 h", "500 h" }, reply = "%s" }' % reply)
    assert "".join(word[0] for word in days.life("one@a.test")) == life


def test_what_lies_outside_the_window_does_not_count(hato, tmp_path):
    days = Days(hato, tmp_path, ["full@a.test"], (1, 20, 33, 34, 35), a=FULL % "")
    assert days.life("full@a.test") == ["bounced"] * 4 + ["suppressed"]


def test_a_delivery_that_holds_clears_what_was_counted(hato, tmp_path):
    world = ", ".join(FULL % f'between = {{ "{h - 1} h", "{h + 1} h" }},' for h in (10, 34, 24 * 9 + 10, 24 * 10 + 10))
    days = Days(hato, tmp_path, ["full@a.test"], (1, 2, 3, 10, 11, 12), a=world)
    assert days.life("full@a.test") == ["bounced", "bounced", "delivered", "bounced", "bounced", "delivered"]
    days = Days(hato, tmp_path, ["full@a.test"], (1, 2, 3, 10, 11, 12), a=world,
                more='hato.bounces { clear = "8 days" }')
    assert days.life("full@a.test") == ["bounced", "bounced", "delivered", "bounced", "suppressed", "suppressed"]


def test_the_scripts_rules_come_first(hato, tmp_path):
    days = Days(hato, tmp_path, ["full@a.test", "gone@a.test", "odd@a.test"], (1, 2, 3, 4, 5),
                a=", ".join((FULL % 'to = "^full",', UNKNOWN % 'to = "^gone",',
                             '{ phase = "rcpt", to = "^odd", reply = "550 5.7.1 we would rather not" }')),
                more="""hato.bounces {
                  { text = "rather not", class = "policy", act = hato.suppress "36 h" },
                  { class = "mailbox_full", after = 2, within = "7 days", act = hato.suppress "30 h" },
                  { kind = "hard", after = 3, within = "30 days", act = hato.suppress "forever" },
                }""")
    assert days.life("odd@a.test") == ["bounced", "suppressed", "bounced", "suppressed", "bounced"]
    assert days.life("full@a.test") == ["bounced", "bounced", "suppressed", "bounced", "suppressed"]
    assert days.life("gone@a.test") == ["bounced", "bounced", "bounced", "suppressed", "suppressed"]


def test_a_script_switches_off_what_ships(hato, tmp_path):
    days = Days(hato, tmp_path, ["full@a.test", "gone@a.test"], (1, 2, 3, 4, 5),
                a=FULL % 'to = "^full",' + "," + UNKNOWN % 'to = "^gone",',
                more="hato.bounces { { class = { 'mailbox_full', 'no_such_user' }, act = hato.ignore() } }")
    assert days.life("full@a.test") == days.life("gone@a.test") == ["bounced"] * 5


def test_simulations_of_people_are_the_same_each_time(hato, tmp_path):
    runs = [Days(hato, tmp_path, crowd(300) + ["full@a.test"], (1, 2, 3, 4),
                 a=UNKNOWN % 'to = "^p", share = 0.5, between = { "33 h", "35 h" },' + "," + FULL % 'to = "^full",')
            for _ in range(2)]
    assert runs[0].counts["event_hash"] == runs[1].counts["event_hash"]


# --- what people decide ---

class Town(Campaign):
    def __init__(self, hato, folder, sink, addresses, script):
        super().__init__(hato, folder, {"people.csv": addresses}, script)
        self.sink = sink

    def deliver(self, name, *words):
        """Another campaign to the same people."""
        (self.folder / "init.lua").write_text('local hato = require "hato"\n' + self.script.replace('"hello"', f'"{name}"'))
        return self.run(self.sink.port, self.sink.dns, "--wait", "0", *words)

    def suppress(self, *words, code=0):
        done = subprocess.run([self.hato, "suppress", *map(str, words), "--state", self.state], capture_output=True,
                              text=True, timeout=60)
        assert done.returncode == code, (words, done.stdout, done.stderr)
        self.says = done.stderr
        return done.stdout

    def listed(self, *words):
        return {s["address"]: s for s in map(json.loads, self.suppress("list", "--json", *words).splitlines())}


REAL = """
return { isps = {
  a = { domains = { "a.test" }, mx = { "mx.a.test" }, address = "127.0.47.11", extensions = { "PIPELINING" },
        replies = { { phase = "rcpt", to = "^none", reply = "550 5.1.1 no such user" },
                    { phase = "rcpt", to = "^full", reply = "552 5.2.2 mailbox full" } } },
  b = { domains = { "b.test" }, mx = { "mx.b.test" }, address = "127.0.47.12", extensions = { "PIPELINING" },
        delay = "100 ms" },
  held = { domains = { "held.test" }, mx = { "mx.held.test" }, address = "127.0.47.13" },
} }
"""
HELD = "127.0.47.13"


@pytest.fixture
def town(hato, tmp_path):
    (tmp_path / "world.lua").write_text(REAL)
    with held_sink(hato, tmp_path, HELD) as sink:
        def make(*addresses, script=plain_script()):
            t = Town(hato, tmp_path, sink, addresses, script)
            t.script = script
            return t
        yield make


def test_quarantine_is_listed_released_and_confirmed(town):
    t = town(*(f"none{i}@a.test" for i in range(60)))
    t.deliver("one")
    assert t.listed() == {}
    aside = t.listed("--quarantine")
    assert len(aside) == 60
    one = aside["none7@a.test"]
    assert (one["reason"], one["isp"]) == ("quarantine", "mx.a.test")
    assert one["evidence"].startswith("no_such_user: 550 5.1.1 no such user")
    why = subprocess.run([t.hato, "why", "none7@a.test", "--state", t.state], capture_output=True, text=True, check=True)
    assert "none7@a.test is set aside, and gets mail, for all mail since " in why.stdout
    assert t.suppress("release", "None7@A.test") == "1 released\n"
    t.suppress("release", "isp=elsewhere", code=1)
    assert "nobody is in quarantine with isp=elsewhere" in t.says
    assert t.suppress("confirm", "none8@a.test") == "1 confirmed\n"
    assert json.loads(t.suppress("confirm", "isp=mx.a.test", "--json")) == {"confirmed": 58}
    assert t.listed("--quarantine") == {} and len(t.listed()) == 59
    assert {s["reason"] for s in t.listed().values()} == {"hard_bounce"}
    outcome = t.deliver("two")
    assert (outcome.counts["suppressed"], outcome.counts["bounced"]) == (59, 1)
    assert t.suppress("release", "all") == "1 released\n"    # it bounced again, and the receiver is still ill
    t.suppress("release", "all", code=1)


def test_who_is_lifted_by_hand_has_nothing_counted_against_them_in_the_database_either(town):
    t = town("full1@a.test", "full2@a.test")
    t.deliver("hello")
    t.suppress("add", "full1@a.test")
    t.suppress("remove", "full1@a.test")
    rows = subprocess.run(["sqlite3", t.state / "hato.db", "SELECT address FROM soft_bounce"], capture_output=True,
                          text=True, check=True).stdout.split()
    assert rows == ["full2@a.test"]
    for person, counted in (("full1@a.test", False), ("full2@a.test", True)):
        why = subprocess.run([t.hato, "why", person, "--state", t.state], capture_output=True, text=True, check=True)
        assert (f"  counted against {person}: mailbox_full\n" in why.stdout) == counted, why.stdout


def test_an_outbreak_outlives_a_restart(town):
    t = town(*(f"p{i}@a.test" for i in range(150)), *(f"none{i}@a.test" for i in range(50)))
    t.deliver("hello")
    assert len(t.listed("--quarantine")) == 50 and not t.listed()
    (t.folder / "people.csv").write_text("email\r\nnone99@a.test\r\n")
    t.deliver("two")
    assert "none99@a.test" in t.listed("--quarantine") and not t.listed()


def test_decisions_reach_the_hato_that_runs(town):
    """p0 … wait at a receiver while none… bounce at the other."""
    t = town(*(f"none{i}@a.test" for i in range(60)), *(f"p{i}@held.test" for i in range(40)))
    run = subprocess.Popen(t.command(t.sink.port, t.sink.dns, "--wait", "5 s"), stdout=subprocess.PIPE, text=True)
    end = time.monotonic() + PATIENCE_S
    while not (t.state / "hato.db").exists() or len(t.listed("--quarantine")) < 60:
        assert time.monotonic() < end and run.poll() is None
        time.sleep(0.05)
    assert t.suppress("confirm", "isp=mx.a.test", "none1@a.test", code=1) == "60 confirmed\n"
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert len(t.listed()) == 60 and t.listed("--quarantine") == {}


def test_an_opt_in_lifts_a_bounce_that_is_older_and_nothing_else(town, tmp_path):
    t = town("none1@a.test", "none2@a.test", "none3@a.test", "fine@a.test")
    t.deliver("one")
    t.suppress("add", "fine@a.test")
    t.suppress("add", "none3@a.test", "--reason", "opt_out")
    t.suppress("remove", "none1@a.test", "--opt-in", "2026-01-01", code=1)
    assert "none1@a.test bounced after that opt-in" in t.says
    assert t.suppress("remove", "none1@a.test", "--opt-in", "2099-01-01 10:00") == "1 removed\n"
    t.suppress("remove", "fine@a.test", "--opt-in", "2099-01-01", code=1)
    assert "suppressed by hand" in t.says
    t.suppress("remove", "none3@a.test", "--opt-in", "2099-01-01", code=1)
    assert "only the person lifts that" in t.says
    (tmp_path / "optin.csv").write_text("email,同意日\nNone2@A.test,2099-01-01\nnone3@a.test,2099-01-01\n"
                                        "fine@a.test,\nnobody@a.test,2099-01-01\n")
    assert json.loads(t.suppress("remove", "--from", tmp_path / "optin.csv", "--map", "opt_in=同意日", "--json")) == {
        "removed": 1, "not_suppressed": 1, "refused": 1, "rejected_rows": 1}
    assert "optin.csv:4: opt_in: no date" in t.says
    assert set(t.listed()) == {"fine@a.test", "none3@a.test"}


def test_a_list_that_a_campaign_names_is_a_scope(town):
    people = ("one@a.test", "two@a.test", "three@a.test")
    t = town(*people, script=plain_script(stream='list = "weekly"'))
    t.suppress("add", "one@a.test", "--scope", "list=weekly")
    t.suppress("add", "two@a.test", "--scope", "list=offers")
    outcome = t.deliver("hello")
    assert (outcome.counts["delivered"], outcome.counts["suppressed"]) == (2, 1)
    assert outcome.of("one@a.test")[0]["text"] == "suppressed for this list: by hand"
    t.script = t.script.replace('hato.campaign "hello" { ', 'hato.campaign "hello" { list = "offers", ')
    outcome = t.deliver("offers")
    assert outcome.kinds("two@a.test")[-1] == "suppressed" and outcome.kinds("one@a.test")[-1] == "delivered"


def test_a_dry_run_and_a_redirect_look_at_the_list_and_leave_it(town):
    t = town("one@a.test", "two@a.test", "none@a.test")
    t.suppress("add", "one@a.test")
    dry = subprocess.run([w for w in t.command(t.sink.port, t.sink.dns, "--dry-run") if w != "--json"],
                         capture_output=True, text=True, check=True)
    assert "hello: 3 people, 1 of them suppressed, 0 bad rows" in dry.stdout
    done = subprocess.run(t.command(t.sink.port, t.sink.dns, "--redirect", "me@b.test", "--wait", "0"),
                          capture_output=True, text=True, check=True)
    counts = json.loads(done.stdout.splitlines()[-1])
    assert (counts["delivered"], counts["suppressed"]) == (2, 1)
    assert set(t.listed()) == {"one@a.test"}


# --- kills ---

def test_what_was_counted_outlives_kills_and_counts_once(town):
    """Three failures on one day are one, however often the process is killed between them."""
    people = [f"full{i}@a.test" for i in range(100)] + [f"p{i}@b.test" for i in range(30)]
    t = town(*people, script='hato.isp "b" { mx = { "mx.b.test" }, connections = 1 }\n'
             'hato.bounces { { class = "mailbox_full", after = 2, within = "30 days", act = hato.suppress "90 days" } }\n'
             + plain_script())
    for name in ("one", "two"):
        (t.folder / "init.lua").write_text('local hato = require "hato"\n' + t.script.replace('"hello"', f'"{name}"'))
        run = subprocess.Popen(t.command(t.sink.port, t.sink.dns), stdout=subprocess.DEVNULL)
        end, before = time.monotonic() + PATIENCE_S, len(log_of(t.folder / "sink.log"))
        while len(log_of(t.folder / "sink.log")) < before + 60:
            assert time.monotonic() < end and run.poll() is None
            time.sleep(0.005)
        run.send_signal(signal.SIGKILL)
        run.wait()
        t.deliver(name)
        t.suppress("add", "nobody@a.test")    # brings the database up to the journal
    rows = subprocess.run(["sqlite3", t.state / "hato.db", "SELECT address, count(*) FROM soft_bounce GROUP BY address"],
                          capture_output=True, text=True, check=True).stdout.split()
    today = {e["time"][:10] for e in t.events() if e["type"] == "bounced"}
    if len(today) == 1:
        assert set(t.listed()) == {"nobody@a.test"}
        assert len(rows) == 100
