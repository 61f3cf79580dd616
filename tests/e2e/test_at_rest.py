"""A state folder on which no hato runs: people steer it, look at it, and whatever runs next obeys."""
import json
import re
import signal
import subprocess

import pytest

from test_backoff import RULES, WORLD as MEASURE_WORLD
from test_daemon import campaign, daemon  # noqa: F401 (a fixture)
from test_steer import ONE_A_DAY

PEOPLE = [f"p{i}@big.test" for i in range(20)]


def counts(text):
    return json.loads(text)


def rows(daemon):
    return daemon.queue()[1]


@pytest.mark.parametrize("what", ["campaign=one", "stream=news", "domain=big.test", "isp=mx.big.test"])
def test_a_pause_at_rest_holds_until_it_is_resumed(daemon, what):
    people = [f"p{i}@big.test" for i in range(6)]
    daemon.script(ONE_A_DAY + campaign("one", "a.csv"))
    daemon.people("a.csv", *people)
    daemon.start()
    daemon.until_delivered(1)
    daemon.program.stop(signal.SIGKILL)
    daemon.script(campaign("one", "a.csv"))
    assert counts(daemon.ask("pause", what, "--json")) == {"touched": 5, "in_flight": 0}
    assert {row["why"] for row in rows(daemon)} == {"paused by hand: " + what}
    assert "paused by hand: " + what in daemon.ask("why", people[-1])
    daemon.start()
    daemon.until(lambda: "paused by hand: " + what in daemon.ask("queue"))
    assert len(daemon.events("delivered")) == 1
    daemon.program.stop(signal.SIGKILL)
    assert counts(daemon.ask("resume", what, "--json"))["touched"] == 5
    assert {row["why"] for row in rows(daemon)} == {"hato does not run on this folder"}
    daemon.start()
    daemon.until_delivered(6)
    daemon.accounted(*people)


def test_a_source_and_a_message_are_paused_at_rest_too(daemon):
    daemon.script(campaign("one", "a.csv"))
    daemon.people("a.csv", "busy@big.test", "busy2@big.test")
    daemon.start()
    daemon.until(lambda: len(daemon.events("deferred")) == 2)
    daemon.program.stop()
    assert daemon.ask("pause", "source=default") == "2 messages paused; no hato runs here: the next one obeys\n"
    assert daemon.ask("pause", "id=m1").startswith("1 message paused")
    totals, _ = daemon.queue()
    assert (totals["held"], totals["deferred"]) == (1, 1)
    daemon.ask("resume", "source=default")
    daemon.ask("retry", "campaign=one")
    assert daemon.queue()[0]["waiting"] == 1, "the other one is paused on its own"
    daemon.start()
    daemon.until(lambda: len(daemon.events("deferred")) == 3)
    assert daemon.queue()[0]["held"] == 1
    daemon.ask("resume", "id=m1")
    daemon.until(lambda: daemon.queue()[0]["held"] == 0)


def test_cancel_at_rest_settles_everybody_once_and_for_good(daemon):
    daemon.script(campaign("one", "a.csv", more='at = "2099-01-01"') + campaign("two", "b.csv"))
    daemon.people("a.csv", *PEOPLE)
    daemon.people("b.csv", "b@big.test")
    daemon.start()
    daemon.until_delivered(1)
    daemon.until(lambda: daemon.queue()[0]["queued"] == 20)
    daemon.program.stop()
    assert "wants --yes" in daemon.ask("cancel", "campaign=one", code=2)
    assert counts(daemon.ask("cancel", "campaign=one", "--yes", "--json")) == {"touched": 20, "in_flight": 0}
    cancelled = daemon.events("cancelled")
    assert sorted(e["recipient"] for e in cancelled) == sorted(PEOPLE)
    assert {e["rule"] for e in cancelled} == {"cancelled by hand"}
    assert {e["campaign"] for e in cancelled} == {"one"} and all(e["envelope_from"] for e in cancelled)
    ids = [e["id"] for e in daemon.events()]
    assert len(ids) == len(set(ids)), "no number of an event is used twice"
    assert daemon.queue()[0]["queued"] == 0
    daemon.people("a.csv", *PEOPLE, "new@big.test")
    daemon.start()
    assert daemon.queue()[0]["queued"] == 0
    assert "somebody cancelled it" in daemon.ask("why", PEOPLE[0])
    daemon.accounted(*PEOPLE, "b@big.test")


def test_a_campaign_forgotten_at_rest_begins_anew(daemon):
    daemon.script(campaign("one", "a.csv"))
    daemon.people("a.csv", "a@big.test", "busy@big.test")
    daemon.start()
    daemon.until_delivered(1)
    daemon.program.stop()
    assert counts(daemon.ask("cancel", "campaign=one", "--yes", "--forget", "--json"))["touched"] == 1
    daemon.script(campaign("one", "a.csv", text="Another text.\\n"))
    daemon.start()
    daemon.until_delivered(2)
    assert [e["recipient"] for e in daemon.events("delivered")] == ["a@big.test"] * 2
    daemon.program.stop(signal.SIGKILL)
    daemon.start()  # and only once
    assert len(daemon.events("delivered")) == 2 and daemon.queue()[0]["queued"] == 1


def test_retry_at_rest_is_due_when_it_runs(daemon):
    daemon.script(campaign("one", "a.csv"))
    daemon.people("a.csv", "busy@big.test")
    daemon.start()
    daemon.until(lambda: len(daemon.events("deferred")) == 1)
    daemon.program.stop()
    assert daemon.queue()[0]["deferred"] == 1
    assert daemon.ask("retry", "isp=mx.big.test").startswith("1 message due now;")
    assert daemon.queue()[0] == {"queued": 1, "waiting": 1, "in_flight": 0, "deferred": 0, "held": 0}
    daemon.start()
    daemon.until(lambda: len(daemon.events("deferred")) == 2)


@pytest.mark.parametrize("daemon", [MEASURE_WORLD], indirect=True, ids=["measures"])
def test_a_measure_is_lifted_at_rest(daemon):
    daemon.script(RULES + campaign("one", "a.csv"))
    daemon.people("a.csv", "bad@r.test")
    daemon.start()
    daemon.until(lambda: "pause, nothing goes" in daemon.ask("queue", "--measures"))
    daemon.people("a.csv", "bad@r.test", "x@r.test")
    daemon.program.stop()
    daemon.start()
    daemon.until(lambda: daemon.queue()[0]["queued"] == 2)
    daemon.program.stop(signal.SIGKILL)
    name = json.loads(daemon.ask("queue", "--measures", "--json"))["name"]
    why, = {row["why"] for row in rows(daemon)}
    assert why.startswith(f"measure {name} (pause, nothing goes) by ") and why.endswith("init.lua:5 rule 2: 450 4.7.9 "
                                                                                        "pause now")
    said = daemon.ask("why", "x@r.test")
    assert f"Waiting: measure {name} (pause, nothing goes)" in said and f"`hato resume measure={name}`" in said
    assert daemon.ask("resume", f"measure={name}").startswith("2 messages may go on")
    assert daemon.ask("queue", "--measures") == "nothing is restricted\n"
    daemon.start()
    daemon.until_delivered(1)
    assert [e["recipient"] for e in daemon.events("delivered")] == ["x@r.test"]


def test_whom_a_measure_keeps_back_the_end_of_a_run_says_and_the_folder_at_rest(daemon):
    daemon.script('hato.bounces { { class = "no_such_user", act = hato.suspend { scope = "path", ["for"] = "4 h" } } }\n'
                  + campaign("one", "a.csv"))
    daemon.people("a.csv", *(f"none{i}@big.test" for i in range(8)))
    words = daemon.command("--yes", "--wait", "1 s")
    words[1] = "run"
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    kept = re.search(r"^(\d) wait for (measure M1 \(suspend, nothing goes\) by .*init.lua:3 rule 1: 550 5.1.1 no such user)"
                     r"; until 2.*; `hato resume measure=M1` lifts it$", done.stdout, re.M)
    assert kept, done.stdout + done.stderr
    totals, (row,) = daemon.queue()
    assert totals["queued"] == row["waiting"] == int(kept[1])
    assert row["why"] == f"hato does not run on this folder; nothing goes there from source default: {kept[2]}"


@pytest.mark.parametrize("words, code, says", [
    (["pause", "campaign=two"], 1, 'there is no campaign "two" in this folder'),
    (["pause", "stream=x"], 1, 'there is no stream "x" in this folder'),
    (["pause", "source=mx9"], 1, 'nothing was sent from a source "mx9"'),
    (["pause", "id=m99"], 1, "message m99 is not on its way"),
    (["pause", "id=x"], 2, "is no message"),
    (["resume", "measure=M9"], 1, 'there is no measure "M9"'),
    (["cancel", "isp=big", "--yes", "--forget"], 2, "--forget goes with cancel campaign=NAME"),
    (["pause", "campaign=one", "campaign=two"], 1, 'there is no campaign "two"'),
])
def test_what_is_not_known_at_rest_is_said_and_nothing_changes(daemon, words, code, says):
    daemon.script(campaign("one", "a.csv", more='at = "2099-01-01"'))
    daemon.people("a.csv", "a@big.test")
    daemon.start()
    daemon.until(lambda: daemon.queue()[0]["queued"] == 1)
    daemon.program.stop()
    assert says in daemon.ask(*words, code=code)
    assert rows(daemon)[0]["why"] == "hato does not run on this folder"


def test_where_there_is_no_folder_it_is_not_made(hato, tmp_path):
    done = subprocess.run([hato, "pause", "isp=x", "--state", tmp_path / "none"], capture_output=True, text=True,
                          timeout=60, check=False)
    assert done.returncode == 1 and "there is no state folder" in done.stderr
    assert not (tmp_path / "none").exists()


def test_all_that_looks_looks_at_rest_too(daemon):
    daemon.script(campaign("one", "a.csv"))
    daemon.people("a.csv", "a@big.test", "none@big.test", "busy@big.test")
    daemon.start()
    daemon.until(lambda: len(daemon.events("delivered", "bounced", "deferred")) == 3)
    daemon.program.stop()
    assert counts(daemon.ask("report", "--json"))["delivered"] == 1
    assert "no such user" in daemon.ask("why", "none@big.test")
    assert daemon.ask("queue").startswith("1 queued: 0 waiting, 0 in flight, 1 deferred, 0 held; hato does not run")
    assert "nothing is restricted" in daemon.ask("queue", "--measures")
    assert [e["type"] for e in daemon.events()].count("accepted") == 3
