"""hato why: every interval of a message's life has its reason, whatever happened to the process and to the mail."""
import datetime
import json
import signal
import subprocess
import time

import pytest

from conftest import PATIENCE_S
from test_backoff import RULES, WORLD as MEASURES
from test_daemon import campaign, daemon, held  # noqa: F401 (fixtures)

LIMITED = """local hato = require "hato"
local news = hato.stream "news" { from = "News <news@news.test>" }
hato.isp "big" { mx = "big.test", rate = "2/s" }
hato.isp "slow" { mx = "slow.test", connections = 1 }
hato.isp "held" { mx = "held.test", connections = 1 }
"""


def ms(text):
    return round(datetime.datetime.fromisoformat(text).timestamp() * 1000)


def stories(daemon, address):
    """Each with when it was told: not before, not after."""
    before = time.time() * 1000 - 1
    lines = [json.loads(line) for line in daemon.ask("why", address, "--json").splitlines()]
    told = before, time.time() * 1000 + 1
    return [{**line, "told": told} for line in lines if "message" in line]    # not what keeps the person from mail


def whole(story):
    """From its acceptance to its end, or to now: each interval begins where the one before it ends, and has a reason."""
    waits, events = story["waits"], story["events"]
    accepted = next(ms(e["time"]) for e in events if e["type"] == "accepted")
    ends = [ms(e["time"]) for e in events if e["type"] in ("delivered", "bounced", "expired", "cancelled")]
    told = "\n".join([story["recipient"]] + [f"{w['from']} {w['ms']} {w['kind']}: {w['why']}" for w in waits] +
                     [f"{e['time']} {e['type']} {e.get('text')}" for e in events])
    at = accepted
    for wait in waits:
        assert ms(wait["from"]) == at, told
        assert wait["kind"] != "none" and wait["why"], told
        at += wait["ms"]
        assert ms(wait["to"]) == at, told
    assert story["unnamed_ms"] == 0
    if ends:
        assert at == ends[0], told
    else:
        assert story["told"][0] <= at <= story["told"][1], told
    return {wait["kind"] for wait in waits}


def all_whole(daemon, people):
    kinds = set()
    for address in people:
        story, = stories(daemon, address)
        kinds |= whole(story)
    return kinds


def test_a_kill_in_the_middle_leaves_no_gap(daemon):
    people = [f"p{i}@{isp}.test" for i in range(8) for isp in ("big", "slow")] + ["busy@big.test", "none@big.test"]
    last = people[14]
    daemon.script(campaign("one", "a.csv"), head=LIMITED.replace("2/s", "4/d"))
    daemon.people("a.csv", *people)
    daemon.start()
    daemon.until(lambda: "for the limit rate 4/d of source default, isp big" in daemon.ask("why", last))
    daemon.until(lambda: len(daemon.events("delivered")) >= 3)
    daemon.program.stop(signal.SIGKILL)
    daemon.script(campaign("one", "a.csv"), head=LIMITED)
    kinds = all_whole(daemon, people)    # at rest
    assert "not running" in kinds
    time.sleep(1.3)
    daemon.start()
    daemon.until(lambda: len(daemon.events("delivered")) >= 7)
    daemon.program.stop(signal.SIGKILL)
    daemon.start()
    daemon.until(lambda: {e["recipient"] for e in daemon.events("delivered", "bounced", "deferred")} == set(people))
    kinds = all_whole(daemon, people)
    assert {"not running", "limit", "connections", "attempt", "time"} <= kinds, kinds
    said = daemon.ask("why", last)
    assert "for the limit rate 4/d of source default, isp big" in said and "init.lua:3" in said, said
    assert "because hato was not running" in said


def test_pauses_reloads_and_stops_have_their_reason(daemon, held):
    """One message goes after the other, each when the test lets it."""
    people = [f"p{i}@held.test" for i in range(6)]
    daemon.script(campaign("one", "a.csv"), head=LIMITED)
    daemon.people("a.csv", *people)
    daemon.start()
    held.let_go(1)
    daemon.until_delivered(1)
    daemon.ask("pause", "isp=held")
    daemon.until(lambda: "because people paused isp=held" in daemon.ask("why", people[4]))
    daemon.ask("pause", "id=m6")
    held.let_go(1)
    daemon.until_delivered(2)
    daemon.ask("resume", "isp=held")
    for _ in range(3):
        held.holds()
    with subprocess.Popen([daemon.hato, "reload", "--state", daemon.state], stdout=subprocess.DEVNULL) as reload:
        daemon.program.wait_for("room=reload open transactions finish")
        held.let_go(1)
        assert reload.wait(PATIENCE_S) == 0
    held.holds()
    daemon.program.process.send_signal(signal.SIGTERM)
    daemon.program.wait_for("signal=15 open transactions finish")
    held.let_go(1)
    assert daemon.program.process.wait(PATIENCE_S) == 0
    daemon.ask("pause", "domain=held.test")
    time.sleep(1.2)
    daemon.start()
    daemon.until(lambda: "because people paused domain=held.test" in daemon.ask("why", people[4]))
    daemon.ask("resume", "domain=held.test")
    held.let_go()
    daemon.until_delivered(5)
    assert {"pause", "not running", "connections"} <= all_whole(daemon, people)
    held, = stories(daemon, "m6")
    assert held["waits"][-1]["why"] == "because people paused this message"
    said = daemon.ask("why", people[4])
    assert "because people paused isp=held" in said and "because people paused domain=held.test" in said, said


def test_who_asks_is_told_what_is_not_in_the_journal_yet(daemon, held):
    """That a pause is over is written ten seconds later (INTERVAL_LINGER_MS), or when somebody asks."""
    people = [f"p{i}@held.test" for i in range(3)]
    daemon.script(campaign("one", "a.csv"), head=LIMITED)
    daemon.people("a.csv", *people)
    daemon.start()
    held.holds()
    daemon.ask("pause", "isp=held")
    daemon.until(lambda: "because people paused isp=held" in daemon.ask("why", people[2]))
    daemon.ask("resume", "isp=held")
    story, = stories(daemon, people[2])
    assert [wait["kind"] for wait in story["waits"]][-2:] == ["pause", "connections"]
    whole(story)


@pytest.mark.parametrize("daemon", [MEASURES], indirect=True, ids=["measures"])
def test_it_says_which_measure_an_answer_caused_and_whom_else_that_slowed(daemon):
    daemon.script(RULES + campaign("one", "a.csv"))
    daemon.people("a.csv", "bad@q.test")
    daemon.start()
    daemon.until(lambda: "suspend, nothing goes" in daemon.ask("queue", "--measures"))
    story, = stories(daemon, "bad@q.test")
    assert [m["slowed"] for m in story["measures"]] == [0]
    assert "nobody else waited for it" in daemon.ask("why", "bad@q.test")
    daemon.script(RULES + campaign("one", "a.csv") + campaign("two", "b.csv") + campaign("three", "c.csv"))
    daemon.people("b.csv", "x@q.test", "y@q.test", "z@r.test")
    daemon.people("c.csv", "v@q.test")
    daemon.ask("reload")
    daemon.until_delivered(1)    # z, at the other receiver
    daemon.until(lambda: json.loads(daemon.ask("queue", "--measures", "--json"))["waiting"] == 3)
    story, = stories(daemon, "bad@q.test")
    measure, = story["measures"]
    assert (measure["slowed"], measure["campaigns"], measure["lifted"]) == (3, {"two": 2, "three": 1}, False)
    deferred = next(e for e in story["events"] if e["type"] == "deferred")
    assert measure["since"] == deferred["time"] and ms(measure["until"]) - ms(measure["since"]) == 3600000
    said = daemon.ask("why", "bad@q.test")
    assert "init.lua:5 rule 1" in said and "3 other messages waited for it (two 2, three 1)" in said, said
    assert "it is to be lifted " in said
    assert "suspend" in daemon.ask("why", "x@q.test")
    assert daemon.ask("resume", f"measure={deferred['measure']}") == "3 messages may go on\n"
    daemon.until_delivered(4)
    story, = stories(daemon, "bad@q.test")
    assert story["measures"][0]["lifted"] and ms(story["measures"][0]["until"]) < ms(measure["until"])
    kinds = all_whole(daemon, ["x@q.test", "y@q.test", "z@r.test", "v@q.test", "bad@q.test"])
    assert "measure" in kinds
