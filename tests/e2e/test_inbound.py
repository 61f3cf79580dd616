"""Returned mail from end to end: what came back becomes an event of its message, once, and suppresses; what carries
no token of ours is kept and changes nothing."""
import contextlib
import email.utils
import json
import os
import pwd
import re
import shutil
import signal
import subprocess
import time
import urllib.request

import pytest

from campaign import Campaign, log_of, plain_script, running_sink
from conftest import PATIENCE_S, Program
from test_mtas import (AS_ROOT, CERT, KEY, POSTFIX_MAIN, POSTFIX_MASTER, accepts, content, listed, shared,  # noqa: F401
                       stop_as_root, until)

WORLD = """
return { isps = {
  a = { domains = { "a.test" }, mx = { "mx.a.test" }, address = "127.0.61.1", extensions = { "PIPELINING" },
        replies = { { phase = "rcpt", to = "^none", reply = "550 5.1.1 no such user" },
                    { phase = "rcpt", to = "^busy", reply = "450 4.2.0 come back later" } } },
} }
"""
STREAM = 'bounce = "b.news.test"'


def dsn(to, about, action="failed", status="5.1.1", diagnostic="550 5.1.1 unknown user", headers="",
        original="Message-ID: <other@elsewhere.test>\nSubject: Hello\n"):
    return f"""{headers}From: Mail Delivery System <MAILER-DAEMON@relay.test>
To: {to}
Subject: Undelivered Mail Returned to Sender
Date: {email.utils.formatdate()}
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="x1"

--x1
Content-Type: text/plain

I'm sorry to have to inform you.

--x1
Content-Type: message/delivery-status

Reporting-MTA: dns; relay.test
Arrival-Date: {email.utils.formatdate()}

Final-Recipient: rfc822; {about}
Action: {action}
Status: {status}
Diagnostic-Code: smtp; {diagnostic}

--x1
Content-Type: message/rfc822

{original}
body

--x1--
"""


def arf(original, kind="abuse"):
    return f"""From: <fbl@relay.test>
To: <abuse@news.test>
Subject: complaint
MIME-Version: 1.0
Content-Type: multipart/report; report-type=feedback-report; boundary="x1"

--x1
Content-Type: text/plain

This is a report.

--x1
Content-Type: message/feedback-report

Feedback-Type: {kind}
User-Agent: Relay/1.0
Version: 1

--x1
Content-Type: message/rfc822

{original}
body

--x1--
"""


class Town(Campaign):
    def __init__(self, hato, folder, sink, addresses, script=None):
        super().__init__(hato, folder, {"people.csv": addresses}, script or plain_script(stream=STREAM))
        self.sink, self.box, self.count = sink, folder / "box", 0
        for name in ("tmp", "new", "cur"):
            (self.box / name).mkdir(parents=True)

    def deliver(self):
        return self.run(self.sink.port, self.sink.dns, "--wait", "0")

    def sent_from(self, address):
        """The return path of what this address got."""
        path, = {t["from"] for t in log_of(self.folder / "sink.log") if address in t["to"]}
        return path

    def message_id(self, address):
        found, = {e["message_id"] for e in self.events() if e["recipient"] == address}
        return f"<{found}>"

    def of(self, address):
        return [e for e in self.events() if e["recipient"] == address and e["type"] not in ("accepted", "delivered")]

    def put(self, mail):
        self.count += 1
        (self.box / "new" / f"{int(time.time())}.M{self.count}.host").write_text(mail)

    def inbound(self, *words, code=0, mail=None, **options):
        """What is not 0 in what it counted. Without a mail for stdin: of the Maildir."""
        words = words if mail is not None else ("--maildir", self.box, *words)
        stdin = {"stdin": subprocess.DEVNULL} if mail is None else {"input": mail}
        done = subprocess.run([self.hato, "inbound", *map(str, words), "--state", self.state, "--json"], text=True,
                              capture_output=True, timeout=60, **stdin, **options)
        assert done.returncode == code, (done.stdout, done.stderr)
        self.says = done.stderr
        return {k: v for k, v in json.loads(done.stdout).items() if v} if done.stdout else {}

    def suppressions(self):
        done = subprocess.run([self.hato, "suppress", "list", "--json", "--state", self.state], capture_output=True,
                              text=True, check=True)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def suppressed(self):
        return {s["address"]: s["reason"] for s in self.suppressions()}

    def more(self, addresses):
        """Further rows for its campaign."""
        self.addresses += addresses
        with open(self.folder / "people.csv", "a", encoding="utf-8") as f:
            f.writelines(f"{a}\r\n" for a in addresses)

    def until(self, true, seconds=PATIENCE_S):
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, "it did not happen"
            time.sleep(0.1)

    def accounted(self):
        """Everybody was accepted once and has at most one end."""
        accepted = [e["recipient"] for e in self.events() if e["type"] == "accepted"]
        ends = [e["recipient"] for e in self.events() if e["type"] in ("delivered", "bounced", "expired")
                and e.get("phase") != "async"]
        assert sorted(accepted) == sorted(self.addresses) and len(ends) == len(set(ends))

    def in_box(self):
        """Names in new, flags in cur."""
        return (sorted(p.name for p in (self.box / "new").iterdir()),
                sorted(p.name.partition(":")[2] for p in (self.box / "cur").iterdir()))


@pytest.fixture
def sink(hato, tmp_path):
    (tmp_path / "world.lua").write_text(WORLD)
    with running_sink(hato, tmp_path) as running:
        yield running


@pytest.fixture
def town(hato, tmp_path, sink):
    return lambda *addresses, **more: Town(hato, tmp_path, sink, addresses, **more)


@contextlib.contextmanager
def serving(t, *words):
    program = Program([t.hato, "serve", t.folder / "init.lua", "--state", t.state, "--smtp-port", t.sink.port, "--dns",
                       f"127.0.0.1:{t.sink.dns}", *words]).wait_for("ready state=")
    try:
        yield program
    finally:
        program.stop()


@pytest.fixture(params=["at rest", "running"])
def ready(request, town):
    """p0 to p4 have their mail; the folder is at rest, or a daemon runs on it."""
    t = town(*(f"p{i}@a.test" for i in range(5)))
    t.deliver()
    with serving(t) if request.param == "running" else contextlib.nullcontext():
        yield t


def test_a_late_bounce_is_an_event_once_and_suppresses(ready):
    mail = dsn(ready.sent_from("p0@a.test"), "other@elsewhere.test")
    ready.put(mail)
    assert ready.inbound() == {"mails": 1, "bounced": 1}
    bounce, = ready.of("p0@a.test")
    assert {k: bounce[k] for k in ("type", "phase", "code", "enhanced", "class", "kind", "campaign", "isp")} == {
        "type": "bounced", "phase": "async", "code": 550, "enhanced": "5.1.1", "class": "no_such_user", "kind": "hard",
        "campaign": "hello", "isp": "mx.a.test"}
    assert bounce["text"] == "550 5.1.1 unknown user" and bounce["session"] is None
    assert ready.suppressed() == {"p0@a.test": "hard_bounce"}
    assert ready.in_box() == ([], ["2,S"])
    ready.put(mail)    # the same again, and another report of the same message
    ready.put(dsn(ready.sent_from("p0@a.test"), "p0@a.test", diagnostic="552 5.2.2 mailbox full", status="5.2.2"))
    assert ready.inbound() == {"mails": 2, "known": 2}
    assert len(ready.of("p0@a.test")) == 1


def test_rules_for_a_receiver_know_it_by_the_host_that_the_report_names(ready):
    ready.put(dsn(ready.sent_from("p0@a.test"), "p0@a.test", status="5.7.27\nRemote-MTA: dns; gmail-smtp-in.l.google.com",
                  diagnostic="550 5.7.27 Your email has been rate limited because SPF did not pass."))
    assert ready.inbound() == {"mails": 1, "bounced": 1}
    bounce, = ready.of("p0@a.test")
    assert (bounce["class"], bounce["rule"]) == ("auth_failed", "shipped:gmail.7.27")


def test_many_at_once_and_in_one_pass(ready):
    paths = {a: ready.sent_from(a) for a in ready.addresses}
    for address, path in paths.items():
        ready.put(dsn(path, address))
        ready.put(dsn(path, address))
    assert ready.inbound() == {"mails": 10, "bounced": 5, "known": 5}
    assert sorted(e["recipient"] for e in ready.events() if e["type"] == "bounced") == ready.addresses


def test_a_complaint_is_found_by_the_original_it_returns(ready):
    ready.put(arf(f"Message-ID: {ready.message_id('p1@a.test')}\nTo: redacted\n"))
    ready.put(arf(f"Return-Path: <{ready.sent_from('p2@a.test')}>\nMessage-ID: <x@y>\n", kind="opt-out"))
    ready.put(arf(f"Message-ID: {ready.message_id('p3@a.test')}\n", kind="not-spam"))
    ready.put(arf(f"Message-ID: {ready.message_id('p1@a.test')}\n", kind="fraud"))
    ready.put(arf("Subject: Hello\n", kind=f"abuse\nOriginal-Mail-From: <{ready.sent_from('p4@a.test')}>"))
    assert ready.inbound() == {"mails": 5, "complained": 3, "nothing": 1, "known": 1}
    complaint, = ready.of("p1@a.test")
    assert complaint["type"] == "complained" and complaint["text"].startswith("abuse, reported by ")
    assert ready.suppressed() == {f"p{i}@a.test": "complaint" for i in (1, 2, 4)}


def test_prometheus_counts_what_came_back_and_what_was_cancelled(town, free_port):
    t, port = town("p0@a.test", "p1@a.test", "busy@a.test"), free_port()
    t.deliver()
    with serving(t, "--metrics", f"127.0.0.1:{port}"):
        t.put(dsn(t.sent_from("p0@a.test"), "p0@a.test"))
        t.put(arf(f"Message-ID: {t.message_id('p1@a.test')}\nSubject: Hello\n"))
        assert t.inbound() == {"mails": 2, "bounced": 1, "complained": 1}
        subprocess.run([t.hato, "cancel", "campaign=hello", "--yes", "--state", t.state], check=True, timeout=60)
        subprocess.run([t.hato, "reload", "--state", t.state], check=True, timeout=60)    # they are the process's
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
            page = answer.read().decode()
    counts = dict(re.findall(r'^hato_events_total\{type="(\w+)"\} (\d+)$', page, re.M))
    assert {k: v for k, v in counts.items() if v != "0"} == {
        "bounced_after_delivery": "1", "complained": "1", "cancelled": "1"}
    # What Prometheus's own linter looks for: words and a kind for each name, before its values; _total on counters.
    kinds = dict(re.findall(r"^# HELP (\w+) [A-Z1].*\.\n# TYPE \1 (gauge|counter)$", page, re.M))
    assert {line.partition(" ")[0].partition("{")[0] for line in page.splitlines() if line[0] != "#"} <= set(kinds)
    assert all(name.endswith("_total") == (kind == "counter") for name, kind in kinds.items())


def test_nothing_is_believed_without_a_token(ready):
    real, other = ready.sent_from("p0@a.test"), ready.sent_from("p1@a.test")
    local, _, domain = real.partition("@")
    forged = [f"{local[:9]}{'a' if local[9] != 'a' else 'b'}{local[10:]}@{domain}",    # changed
              f"{local}@c.news.test",                                                  # another domain
              other.partition("@")[0] + "x@b.news.test"]                               # no such length
    forged.append(ready.message_id("p0@a.test").strip("<>").replace("news.test", "b.news.test"))
    forged.append("b-" + forged[-1])                                      # a Message-ID is no return path
    for to in [*forged, "news@news.test", "b.news.test"]:
        ready.put(dsn(to, "p0@a.test", original="Message-ID: <1@news.test>\nTo: p0@a.test\n"))
    # A person's answer quotes our Message-ID; prose proves nothing.
    ready.put(f"From: p1@a.test\nTo: news@news.test\nSubject: Re: Hello\nReferences: {ready.message_id('p1@a.test')}\n\n"
              "p0@a.test: 550 5.1.1 user unknown\n")
    assert ready.inbound() == {"mails": 8, "kept": 8, "forged": 2}
    assert ready.suppressed() == {} and not [e for e in ready.events() if e["type"] == "bounced"]
    assert ready.in_box() == ([], ["2,FS"] * 8)


def test_delays_and_automatic_replies_are_no_bounces(ready):
    path = ready.sent_from("p0@a.test")
    ready.put(dsn(path, "p0@a.test", action="delayed", status="4.4.1", diagnostic="450 4.4.1 no answer"))
    ready.put(dsn(path, "p0@a.test", action="delivered", status="2.0.0", diagnostic="250 2.0.0 ok"))
    ready.put(f"From: p0@a.test\nTo: {path}\nSubject: Out of office\nAuto-Submitted: auto-replied\n\nI am away.\n")
    ready.put(f"From: p0@a.test\nTo: {path}\nSubject: Hello\n\nNice weather here.\n")    # for people
    assert ready.inbound() == {"mails": 4, "nothing": 3, "kept": 1}
    assert ready.of("p0@a.test") == [] and ready.suppressed() == {}


@pytest.mark.parametrize("field", ["Delivered-To", "X-Original-To", "Envelope-To"])
def test_the_address_is_taken_from_what_the_mta_notes(ready, field):
    ready.put(dsn("undisclosed-recipients:;", "p0@a.test", headers=f"{field}: {ready.sent_from('p0@a.test').upper()}\n"))
    assert ready.inbound() == {"mails": 1, "bounced": 1}


@pytest.mark.parametrize("way", ["--to", "ORIGINAL_RECIPIENT", "RECIPIENT"])
def test_a_pipe_transport_says_whom_it_is_for(ready, way):
    mail, path = dsn("somebody@elsewhere.test", "p0@a.test"), ready.sent_from("p0@a.test")
    env = {k: v for k, v in os.environ.items() if "RECIPIENT" not in k}
    if way == "--to":
        assert ready.inbound("--to", path, mail=mail, env=env) == {"mails": 1, "bounced": 1}
    else:
        assert ready.inbound(mail=mail, env={**env, way: path}) == {"mails": 1, "bounced": 1}
    assert ready.inbound("--to", path, mail=mail) == {"mails": 1, "known": 1}
    assert ready.inbound("--to", "x@y.test", mail=mail, env=env) == {"mails": 1, "kept": 1}
    kept, = (ready.state / "inbound" / "new").iterdir()
    assert kept.read_text() == mail and kept.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("isp", ["mx.a.test", "them"])
def test_the_script_rules_have_the_first_word(town, isp):
    rule = 'hato.bounces { { isp = "%s", text = "unknown user", class = "filtered" } }\n' % isp
    isps = 'hato.isp "ours" { mx = "mx.a.test", provider = "them" }\n' if isp == "them" else ""
    t = town("p0@a.test", script=plain_script(isps + rule, stream=STREAM))
    t.deliver()
    with serving(t):
        t.put(dsn(t.sent_from("p0@a.test"), "p0@a.test"))
        assert t.inbound() == {"mails": 1, "bounced": 1}
    bounce, = t.of("p0@a.test")
    assert bounce["class"] == "filtered" and "init.lua:" in bounce["rule"] and t.suppressed() == {}


@pytest.mark.parametrize("rule", ['class = "no_such_user"', 'text = "unknown user", class = "filtered"'])
def test_what_a_rule_says_of_the_person_holds_for_a_late_bounce_too(town, rule):
    t = town("p0@a.test", script=plain_script('hato.bounces { { %s, act = hato.suppress "9 days" } }\n' % rule,
                                              stream=STREAM))
    t.deliver()
    with serving(t):
        t.put(dsn(t.sent_from("p0@a.test"), "p0@a.test"))
        assert t.inbound() == {"mails": 1, "bounced": 1}
    row, = t.suppressions()
    assert "init.lua:" in row["evidence"] and row["expires"]


def test_what_bounced_in_its_session_does_not_bounce_again(town):
    t = town("none@a.test", "busy@a.test")
    t.deliver()
    for address in t.addresses:
        t.put(dsn(t.sent_from(address), address))
    assert t.inbound(code=1) == {"mails": 2, "known": 1, "early": 1}    # the other is still on its way: it waits
    assert len(t.in_box()[0]) == 1 and [e["type"] for e in t.of("busy@a.test")] == ["deferred"]
    assert t.inbound("--to", t.sent_from("busy@a.test"), mail=dsn("x@y.test", "z"), code=75) == {
        "mails": 1, "early": 1, "failed": 1}


def test_a_message_that_the_journal_never_had_is_for_people(town):
    t = town("p0@a.test")
    t.deliver()
    path = t.sent_from("p0@a.test")
    for journal in [*t.state.glob("events-*"), *t.state.glob("recipients-*")]:
        journal.unlink()
    t.put(dsn(path, "p0@a.test"))
    assert t.inbound() == {"mails": 1, "kept": 1}


def test_every_trouble_of_a_pipe_transport_is_temporary(town, tmp_path):
    t = town("p0@a.test")
    t.deliver()
    mail = dsn(t.sent_from("p0@a.test"), "p0@a.test")
    assert t.inbound("--maildr", "x", mail=mail, code=75) == {}
    assert "did you mean --maildir" in t.says
    done = subprocess.run([t.hato, "inbound", "--state", tmp_path / "nothing"], input=mail, text=True, capture_output=True)
    assert done.returncode == 75 and "no state folder" in done.stderr
    assert t.inbound("--to", t.sent_from("p0@a.test"), mail="", code=75) == {"failed": 1} and "stdin is empty" in t.says
    holder = Program(["flock", "-F", t.state / "lock", "sh", "-c", "echo held; exec sleep 600"]).wait_for("held")
    try:    # and answers nobody
        assert t.inbound("--to", t.sent_from("p0@a.test"), mail=mail, code=75) == {"mails": 1, "failed": 1}
        assert "is held by" in t.says
        t.put(mail)
        assert t.inbound(code=1) == {"mails": 1, "failed": 1} and len(t.in_box()[0]) == 1
    finally:
        holder.stop(signal.SIGKILL)
    done = subprocess.run([t.hato, "inbound", "--state", t.state], stdin=subprocess.DEVNULL, text=True, capture_output=True)
    assert done.returncode == 2 and "needs --maildir" in done.stderr
    assert t.inbound("--to", "x@y", code=2) == {} and "--to goes with one mail" in t.says


def test_reports_and_why_tell_of_what_came_back(ready):
    ready.put(dsn(ready.sent_from("p0@a.test"), "p0@a.test"))
    ready.put(arf(f"Message-ID: {ready.message_id('p1@a.test')}\n"))
    ready.inbound()

    def say(*words):
        return subprocess.run([ready.hato, *words, "--state", ready.state], capture_output=True, text=True, check=True).stdout

    report = json.loads(say("report", "--json"))
    assert (report["delivered"], report["bounced"], report["bounced_later"], report["complained"]) == (5, 0, 1, 1)
    assert report["errors"]["permanent_no_such_user"] == 1
    assert [(r["bounced_later"], r["complained"]) for r in report["isps"]] == [(1, 1)]
    text = say("report")
    assert "delivery rate 80" in text and "1 of those delivered bounced later, 1 complaint" in text
    assert "NOT ACCOUNTED" not in text
    why = say("why", "p0@a.test")
    assert "mx.a.test sent it back by mail: 550 5.1.1 unknown user" in why and "Ended, not delivered" in why
    assert "complained: abuse" in say("why", ready.message_id("p1@a.test"))
    assert "async: 550 5.1.1 unknown user" in say("events")


def test_done_mail_goes_after_its_time_and_what_is_for_people_stays(ready):
    ready.put(dsn(ready.sent_from("p0@a.test"), "p0@a.test"))
    ready.put("Subject: spam\n\nspam\n")
    ready.inbound()
    assert ready.in_box() == ([], ["2,FS", "2,S"])
    time.sleep(1.1)
    ready.inbound("--keep", "0")
    assert ready.in_box() == ([], ["2,FS"])


def test_what_is_for_people_is_bounded_and_what_is_not_goes_on(town):
    t = town("p0@a.test")
    t.deliver()
    for i in range(10000):
        (t.box / "cur" / f"1.{i}.host:2,FS").touch()
        (t.state / "inbound" / "new").mkdir(parents=True, exist_ok=True)
        (t.state / "inbound" / "new" / f"1.{i}.host").touch()
    t.put("Subject: spam\n\nspam\n")
    t.put(dsn(t.sent_from("p0@a.test"), "p0@a.test"))
    assert t.inbound(code=1) == {"mails": 2, "bounced": 1, "failed": 1}
    assert "10000 mails wait" in t.says and len(t.in_box()[0]) == 1
    assert t.inbound(mail="Subject: spam\n\nspam\n", code=75) == {"mails": 1, "failed": 1}


def test_kills_at_any_moment_leave_each_bounce_once(town):
    t = town(*(f"p{i}@a.test" for i in range(300)))
    t.deliver()
    senders = {x["to"][0]: x["from"] for x in log_of(t.folder / "sink.log")}
    for address in t.addresses:
        t.put(dsn(senders[address], address))
    command = [t.hato, "inbound", "--maildir", t.box, "--state", t.state]
    for round_ in range(8):
        with serving(t) as daemon:
            inbound = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(0.02 + 0.04 * round_)
            (daemon.process if round_ % 2 else inbound).kill()
            inbound.wait(PATIENCE_S)
            if round_ % 2:
                daemon.stop(signal.SIGKILL)
    with serving(t):
        t.inbound()
    assert t.in_box() == ([], ["2,S"] * 300)
    assert sorted(e["recipient"] for e in t.events() if e["type"] == "bounced") == sorted(t.addresses)
    assert set(t.suppressed()) == set(t.addresses)


@pytest.mark.parametrize("point", ["spool.write.before", "spool.write.after", "spool.sync.before", "spool.sync.after"])
def test_killed_at_rest_between_journal_and_maildir(town, point):
    t = town("p0@a.test", "p1@a.test")
    t.deliver()
    t.put(dsn(t.sent_from("p0@a.test"), "p0@a.test"))
    killed = subprocess.run([t.hato + "_failpoints", "inbound", "--maildir", t.box, "--state", t.state],
                            env={**os.environ, "HATO_FAILPOINT": f"{point}:1"}, capture_output=True)
    assert killed.returncode == -signal.SIGKILL and len(t.in_box()[0]) == 1
    counts = t.inbound()
    assert counts["mails"] == 1 and (counts.get("bounced"), counts.get("known")) in ((1, None), (None, 1))
    assert [e["type"] for e in t.of("p0@a.test")] == ["bounced"] and t.suppressed() == {"p0@a.test": "hard_bounce"}


# --- a real Postfix: it takes our mail for a domain behind it, is refused there, and returns it to itself ---


RELAY_MAIN = """
relay_domains = {domains}
relay_recipient_maps =
fast_flush_domains =
transport_maps = inline:{{ remote.test=smtp:[{behind}]:{port}, {more} }}
smtp_dns_support_level = disabled
notify_classes =
hato_destination_recipient_limit = 1
"""
RELAY_MASTER = """
smtp      unix  - - n - - smtp
hato      unix  - n n - - pipe
  flags=DXhu user=nobody argv=/bin/sh {pipe} ${{recipient}}
"""
PIPE = """
until [ -e {ready} ]; do sleep 0.1; done
exec {hato} inbound --to "$1" --state {state}
"""


def events_of(campaign):
    """Of a state folder that may be another user's."""
    done = subprocess.run([*AS_ROOT, campaign.hato, "events", "--json", "--state", campaign.state], capture_output=True,
                          text=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("way", ["pipe", "maildir"])
def test_what_a_real_postfix_returns_suppresses(hato, tmp_path, shared, way):  # noqa: F811
    address, behind, user = "127.0.61.101", "127.0.61.102", pwd.getpwnam("postfix")
    (tmp_path / "world.lua").write_text(f"""
return {{ isps = {{
  behind = {{ domains = {{ "behind.test" }}, address = "{behind}",
             replies = {{ {{ phase = "rcpt", to = "^none", reply = "550 5.1.1 no such user here" }} }} }},
  remote = {{ domains = {{ "remote.test" }}, mx = {{ "mx.remote.test" }}, address = "{address}" }},
}} }}
""")
    shutil.copy(hato, shared / "hato")    # where another user may run it
    campaign = Campaign(shared / "hato", tmp_path, {"people.csv": ["none@remote.test", "good@remote.test"]},
                        plain_script(stream=STREAM))
    campaign.state = shared / "state"
    config, by_pipe = shared / "etc", way == "pipe"
    for name in ("etc", "queue", "data", "mail"):
        (shared / name).mkdir()
    for name, path in (("cert", CERT), ("key", KEY)):
        shutil.copy(path, shared / f"{name}.pem")
    with running_sink(hato, tmp_path, listen=[behind]) as sink:
        main = POSTFIX_MAIN.format(folder=shared, uid=user.pw_uid, gid=user.pw_gid).replace(
            "virtual_mailbox_domains = postfix.test", f"virtual_mailbox_domains = {'' if by_pipe else 'b.news.test'}")
        relay = RELAY_MAIN.format(domains="remote.test, b.news.test" if by_pipe else "remote.test", behind=behind,
                                  port=sink.port, more="b.news.test=hato" if by_pipe else "")
        (config / "main.cf").write_text(main + relay)
        (config / "master.cf").write_text(POSTFIX_MASTER.format(address=address, port=sink.port) +
                                          RELAY_MASTER.format(pipe=shared / "pipe"))
        (shared / "pipe").write_text(PIPE.format(ready=shared / "ready", hato=shared / "hato", state=campaign.state))
        for name in ("data", "mail"):
            subprocess.run([*AS_ROOT, "chown", "-R", "postfix", shared / name], check=True)
        subprocess.run([*AS_ROOT, "chown", "-R", "root", shared / "etc", shared / "queue"], check=True)
        postfix = Program([*AS_ROOT, "/usr/sbin/postfix", "-c", config, "start-fg"])
        try:
            until(lambda: accepts(address, sink.port), "Postfix listens")
            assert campaign.run(sink.port, sink.dns, "--wait", "0").counts["delivered"] == 2
            owner = "nobody" if by_pipe else str(os.getuid())
            subprocess.run([*AS_ROOT, "chown", "-R", owner, campaign.state], check=True)
            (shared / "ready").touch()    # what came back meanwhile waits in the pipe, whose user the folder has now
            if by_pipe:
                until(lambda: any(e["type"] == "bounced" for e in events_of(campaign)), "the pipe took the mail",
                      program=postfix)
            else:
                until(lambda: listed(shared / "mail" / "inbox" / "new"), "the mail is in the Maildir",
                      program=postfix)
        finally:
            master = shared / "queue" / "pid" / "master.pid"
            until(lambda: listed(master), postfix.output)
            stop_as_root(postfix, content(master).strip())
    if not by_pipe:
        done = subprocess.run([*AS_ROOT, hato, "inbound", "--maildir", shared / "mail" / "inbox", "--state",
                               campaign.state, "--json"], check=True, capture_output=True, text=True,
                              stdin=subprocess.DEVNULL)
        assert json.loads(done.stdout)["bounced"] == 1, postfix.output
    subprocess.run([*AS_ROOT, "chown", "-R", str(os.getuid()), campaign.state], check=True)
    bounce, = [e for e in campaign.events() if e["type"] == "bounced"]
    assert (bounce["recipient"], bounce["phase"], bounce["class"], bounce["enhanced"]) == (
        "none@remote.test", "async", "no_such_user", "5.1.1")
    listing = subprocess.run([hato, "suppress", "list", "--json", "--state", campaign.state], check=True, capture_output=True,
                             text=True)
    assert [json.loads(line)["address"] for line in listing.stdout.splitlines()] == ["none@remote.test"]
