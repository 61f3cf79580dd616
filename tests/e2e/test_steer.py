"""hato pause, resume, cancel and retry against a running hato serve: what they touch, and that it outlives a kill."""
import json
import signal
import time

import pytest

from test_daemon import campaign, daemon, held  # noqa: F401 (fixtures)

PEOPLE = [f"p{i}@big.test" for i in range(20)]
ONE_A_DAY = 'hato.limit { by = { "campaign" }, rate = "1/d" }\n'    # the first goes, the others wait until it is taken out


def counts(text):
    return json.loads(text)


def why_of(daemon, address):
    return daemon.ask("why", address)


@pytest.mark.parametrize("what", ["campaign=one", "stream=news", "domain=big.test", "isp=mx.big.test", "source=default"])
def test_a_pause_holds_through_a_kill_until_it_is_resumed(daemon, what):  # noqa: F811
    people = [f"p{i}@big.test" for i in range(6)]
    daemon.script(ONE_A_DAY + campaign("one", "a.csv"))
    daemon.people("a.csv", *people)
    daemon.start()
    daemon.until_delivered(1)
    assert counts(daemon.ask("pause", what, "--json"))["touched"] == 5
    daemon.program.stop(signal.SIGKILL)
    daemon.script(campaign("one", "a.csv"))
    daemon.start()
    daemon.until(lambda: "paused by hand: " + what in daemon.ask("queue"))
    time.sleep(1.5)
    assert len(daemon.events("delivered")) == 1
    assert "paused by hand: " + what in why_of(daemon, people[-1])
    assert counts(daemon.ask("resume", what, "--json"))["touched"] == 5
    daemon.until_delivered(6)
    daemon.accounted(*people)


def test_one_message_is_paused_and_resumed_on_its_own(daemon):  # noqa: F811
    daemon.script(campaign("one", "a.csv", more='at = "2099-01-01"'))
    daemon.people("a.csv", "a@big.test", "b@big.test", "c@big.test")
    daemon.start()
    daemon.until(lambda: daemon.queue()[0]["queued"] == 3)
    assert daemon.ask("pause", "id=m2") == "1 message paused\n"
    assert daemon.queue()[0]["held"] == 1
    daemon.program.stop(signal.SIGKILL)
    daemon.start()
    assert daemon.queue()[0]["held"] == 1
    daemon.ask("resume", "id=m2")
    assert daemon.queue()[0]["held"] == 0
    assert daemon.ask("cancel", "id=m1", "--yes") == "1 message cancelled\n"
    assert [e["message"] for e in daemon.events("cancelled")] == ["m1"]
    assert "not on its way" in daemon.ask("pause", "id=m1", code=1)


def test_cancel_settles_everybody_once_and_for_good(daemon):  # noqa: F811
    daemon.script(campaign("one", "a.csv", more='at = "2099-01-01"') + campaign("two", "b.csv"))
    daemon.people("a.csv", *PEOPLE)
    daemon.people("b.csv", "b@big.test")
    daemon.start()
    daemon.until_delivered(1)
    assert "wants --yes" in daemon.ask("cancel", "campaign=one", code=2)
    assert counts(daemon.ask("cancel", "campaign=one", "--yes", "--json")) == {"touched": 20, "in_flight": 0}
    daemon.program.stop(signal.SIGKILL)
    cancelled = daemon.events("cancelled")
    assert sorted(e["recipient"] for e in cancelled) == sorted(PEOPLE)
    assert {e["rule"] for e in cancelled} == {"cancelled by hand"}
    daemon.people("a.csv", *PEOPLE, "new@big.test")
    daemon.start()
    assert daemon.queue()[0]["queued"] == 0
    assert "somebody cancelled it" in why_of(daemon, PEOPLE[0])
    daemon.accounted(*PEOPLE, "b@big.test")


def test_a_forgotten_campaign_may_begin_anew(daemon):  # noqa: F811
    daemon.script(campaign("one", "a.csv"))
    daemon.people("a.csv", "a@big.test", "busy@big.test")
    daemon.start()
    daemon.until_delivered(1)
    assert counts(daemon.ask("cancel", "campaign=one", "--yes", "--forget", "--json"))["touched"] == 1
    daemon.script(campaign("one", "a.csv", text="Another text.\\n"))
    daemon.ask("reload")
    daemon.until_delivered(2)
    assert [e["recipient"] for e in daemon.events("delivered")] == ["a@big.test"] * 2
    daemon.program.stop(signal.SIGKILL)
    daemon.start()  # and only once
    assert len(daemon.events("delivered")) == 2 and daemon.queue()[0]["queued"] == 1


@pytest.mark.parametrize("answer, ends", [("250 taken", ["delivered"]), ("450 4.2.0 not now", ["deferred", "cancelled"])])
def test_cancelled_in_flight_ends_as_it_ends_and_has_no_next_try(daemon, held, answer, ends):  # noqa: F811
    daemon.people("a.csv", "x@held.test")
    daemon.script(campaign("one", "a.csv"))
    daemon.start()
    held.answer = answer
    held.holds()
    assert counts(daemon.ask("cancel", "stream=news", "--yes", "--json")) == {"touched": 1, "in_flight": 1}
    assert not daemon.events("cancelled")
    held.let_go()
    daemon.until(lambda: daemon.queue()[0]["queued"] == 0)
    assert [e["type"] for e in daemon.events()] == ["accepted", *ends]


def test_retry_is_due_now(daemon):  # noqa: F811
    daemon.script(campaign("one", "a.csv"))
    daemon.people("a.csv", "busy@big.test")
    daemon.start()
    daemon.until(lambda: len(daemon.events("deferred")) == 1)
    assert daemon.ask("retry", "isp=mx.big.test") == "1 message due now\n"
    daemon.until(lambda: len(daemon.events("deferred")) == 2)
    daemon.until(lambda: daemon.queue()[0]["deferred"] == 1)
    daemon.ask("pause", "domain=big.test")
    assert daemon.ask("retry", "campaign=one") == "1 message due now\n"
    daemon.program.stop(signal.SIGKILL)
    assert daemon.queue()[0]["deferred"] == 0  # the time was moved on disk too
    daemon.start()
    daemon.ask("resume", "domain=big.test")
    daemon.until(lambda: len(daemon.events("deferred")) == 3)


@pytest.mark.parametrize("words, code, says", [
    (["pause", "campain=one"], 2, "did you mean campaign=one?"),
    (["pause", "campaign=two"], 1, 'there is no campaign "two"'),
    (["pause", "source=mx9"], 1, 'there is no source "mx9"'),
    (["pause", "id=x"], 2, "is no message"),
    (["pause"], 2, "what, please"),
    (["resume", "campaign"], 2, "is not KIND=VALUE"),
    (["cancel", "isp=big", "--yes", "--forget"], 2, "--forget goes with cancel campaign=NAME"),
])
def test_what_is_not_known_is_said(daemon, words, code, says):  # noqa: F811
    daemon.script(campaign("one", "a.csv"))
    daemon.people("a.csv", "a@big.test")
    daemon.start()
    assert says in daemon.ask(*words, code=code)
