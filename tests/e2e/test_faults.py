"""Receivers and name servers that fail, by the name of the fault: what happens to mail there, and that everybody is
accounted for once.

Most faults are played side by side in one run, each by a receiver of its own, so that the run also shows that none of
them holds up another. The rest want a receiver that answers byte by byte, or a run of their own."""
import collections
import datetime
import re
import signal
import socket
import string
import threading
import time
import types

import pytest

from campaign import Campaign, Outcome, log_of, plain_script, running_sink
from conftest import PORTS, Program

RETRY = 'hato.bounces { retry = { "1 s", "2 s", give_up = "12 s" } }\n'
PHASES = ("banner", "ehlo", "mail", "rcpt", "data", "eod")
PLAIN = 'extensions = { "PIPELINING", "8BITMIME" }, '
# $n: its name; $a, $b: addresses of its own; $nobody: one where nobody listens
TWO_HOSTS = 'mx = { "mx1.$n.test", "mx2.$n.test" }, address = { "$a", "$b" }, '
HOSTS_IN_ORDER = 'mx = { "10 mx1.$n.test", "20 mx2.$n.test" }, address = { "$a", "$b" }, '

FAULTS = {}     # name: (manners of the receiver, recipients, what is expected)


def fault(name, manners, expected, recipients=2, script="", dns=None):
    FAULTS[name] = types.SimpleNamespace(manners=manners, expected=expected, recipients=recipients, script=script, dns=dns)


class Seen:
    """What happened at one receiver."""

    def __init__(self, outcome, log, domain, addresses):
        self.addresses, self.says = addresses, outcome.says
        self.events = [e for e in outcome.events if e["recipient"] in addresses and e["type"] != "accepted"]
        self.by_address = {a: [e for e in self.events if e["recipient"] == a] for a in addresses}
        self.kinds = {a: [e["type"] for e in events] for a, events in self.by_address.items()}
        self.log = [entry for entry in log if any(to.endswith("@" + domain) for to in entry["to"])]
        self.taken = [to for entry in self.log if entry["taken"] for to in entry["to"]]

    def finals(self):
        return {kind for kinds in self.kinds.values() for kind in kinds} & {"delivered", "bounced", "expired"}


def all_delivered(s):
    assert all(kinds == ["delivered"] for kinds in s.kinds.values()), s.kinds


def waits(phase, cls):
    """Nobody ended; what was said names phase and class."""
    def check(s):
        assert s.finals() == set(), s.kinds
        told = [e for e in s.events if e["type"] == "deferred"]
        assert told and all((e["phase"], e["class"]) == (phase, cls) for e in told), s.events
        assert all(e["attempt"] == 0 for e in told), told
        assert s.taken == []
    return check


def waits_unseen(phase):
    """Nobody ended and nobody's attempt was counted: it was about us, and a person is told."""
    def check(s):
        assert s.finals() == set() and all(e["attempt"] == 0 for e in s.events), s.events
        assert s.taken == []
        assert re.search(rf"refused.*{s.addresses[0].partition('@')[2]}.*phase={phase}", s.says), s.says
    return check


def tried_and_expired(phase, cls, code=None, kind="deferred"):
    """Tried by the schedule, in the end given up with the words of the last answer."""
    def check(s):
        for kinds in s.kinds.values():
            assert kinds[-1] == "expired" and set(kinds[:-1]) == {kind} and 3 <= len(kinds) <= 9, s.kinds
        for e in s.events:
            silent_end = e["type"] == "expired" and code is None
            assert (e["phase"], e["code"], e["class"]) == (phase, code, "expired" if silent_end else cls), e
        assert s.taken == []
    return check


def bounced_at_once(phase, cls, code=None):
    def check(s):
        assert all(kinds == ["bounced"] for kinds in s.kinds.values()), s.kinds
        for e in s.events:
            assert (e["phase"], e["class"], e["code"]) == (phase, cls, code), e
        assert s.taken == []
    return check


for p in PHASES[:2]:
    fault(f"disconnect at {p}", f'replies = {{ {{ phase = "{p}", disconnect = true }} }}', waits(p, "network"))
    fault(f"garbage at {p}", f'replies = {{ {{ phase = "{p}", garbage = true }} }}', waits(p, "protocol"))
for p in PHASES[2:5]:
    fault(f"disconnect at {p}", PLAIN + f'replies = {{ {{ phase = "{p}", disconnect = true }} }}',
          tried_and_expired(p, "network"))
    fault(f"garbage at {p}", PLAIN + f'replies = {{ {{ phase = "{p}", garbage = true }} }}', tried_and_expired(p, "protocol"))
for p in PHASES[2:]:
    fault(f"421 at {p}", f'replies = {{ {{ phase = "{p}", reply = "421 4.3.2 going down" }} }}',
          tried_and_expired(p, "system", 421))
fault("421 at banner", 'replies = { { phase = "banner", reply = "421 4.3.2 going down" } }', waits("banner", "system"))
fault("421 at ehlo", 'replies = { { phase = "ehlo", reply = "421 4.3.2 going down" } }', waits_unseen("ehlo"))
fault("5xx at banner", 'replies = { { phase = "banner", reply = "554 5.7.1 not you" } }', waits_unseen("banner"))
fault("5xx at ehlo", 'replies = { { phase = "ehlo", reply = "550 5.7.1 not you" } }', waits_unseen("ehlo"))


def sender_stopped(s):
    assert s.finals() == set() and s.taken == [], s.kinds
    assert re.search(r"sender refused.*phase=mail", s.says), s.says


fault("5xx at mail", 'replies = { { phase = "mail", reply = "550 5.7.1 not from you" } }', sender_stopped)
for p, words, cls in (("rcpt", "550 5.1.1 no such user", "no_such_user"), ("data", "554 5.7.1 no", "policy"),
                      ("eod", "554 5.7.1 message looks like spam", "spam")):
    fault(f"5xx at {p}", f'replies = {{ {{ phase = "{p}", reply = "{words}" }} }}', bounced_at_once(p, cls, int(words[:3])))


def ambiguous(s):
    """It may have been taken: told as that, tried again by the schedule only, and only where it may be."""
    for kinds in s.kinds.values():
        assert kinds[-1] == "expired" and set(kinds[:-1]) == {"ambiguous"} and 3 <= len(kinds) <= 9, s.kinds
    for address in s.addresses:
        assert len({entry["local"] for entry in s.log if address in entry["to"]}) == 1
    tries = collections.defaultdict(list)
    for e in s.events:
        tries[e["recipient"]].append(seconds_of(e))
    for times in tries.values():
        assert min(b - a for a, b in zip(times, times[1:])) > 0.85, times


def seconds_of(event):
    return datetime.datetime.fromisoformat(event["time"].replace("Z", "+00:00")).timestamp()


fault("disconnect after the final dot", TWO_HOSTS + 'replies = { { phase = "eod", disconnect = true } }', ambiguous)
fault("garbage after the final dot", TWO_HOSTS + 'replies = { { phase = "eod", garbage = true } }', ambiguous)


def in_plain(words):
    def check(s):
        all_delivered(s)
        assert all(e["tls"]["version"] is None and words in e["tls"]["note"] for e in s.events), s.events
        assert all(entry["tls"] is None for entry in s.log if entry["taken"])
    return check


def never_in_plain(s):
    assert s.finals() == set() and s.taken == [], s.kinds
    assert {e["class"] for e in s.events} == {"tls_failed"}, s.events


def over_tls(s):
    all_delivered(s)
    assert all(e["tls"]["version"].startswith("TLSv1.") for e in s.events)


REQUIRE = 'hato.isp "$n" { domains = { "$n.test" }, tls = "require" }\n'
for how, words in (("refuse", "STARTTLS was refused"), ("garbage", "TLS failed"), ("disconnect", "TLS failed")):
    fault(f"TLS {how}", f'tls = "{how}"', in_plain(words))
    fault(f"TLS {how}, required", f'tls = "{how}"', never_in_plain, script=REQUIRE)
fault("TLS not offered, required", PLAIN, never_in_plain, script=REQUIRE)
fault("TLS as it should be, required", "", over_tls, script=REQUIRE)


def greylisted(s):
    for events in s.by_address.values():
        assert [e["type"] for e in events][-1] == "delivered" and 2 <= len(events) <= 4, events
        assert all((e["class"], e["phase"]) == ("greylisted", "rcpt") for e in events[:-1]), events


fault("greylisting", 'greylist = "1 s"', greylisted, recipients=5)


def all_delivered_in_the_end(s):
    assert all(kinds[-1] == "delivered" for kinds in s.kinds.values()), s.kinds
    assert all(e["code"] == 421 or e["rule"] == "not taken" for e in s.events if e["type"] == "deferred"), s.events


fault("two messages a connection", "per_connection = 2", all_delivered_in_the_end, recipients=9)
fault("one connection", 'connections = 1, delay = "5 ms"', all_delivered, recipients=60)


def second_host(s):
    all_delivered(s)
    assert {e["mx"].partition(".")[0] for e in s.events} == {"mx2"}


def first_host_alone(code):
    def check(s):
        assert {e["code"] for e in s.events} == {code}
        assert {entry["local"].partition(":")[0] for entry in s.log} == {s.log[0]["local"].partition(":")[0]}
        assert {e["mx"].partition(".")[0] for e in s.events} == {"mx1"}
    return check


fault("first host refuses connections", HOSTS_IN_ORDER.replace("$a", "$nobody"), second_host, recipients=4)
fault("4xx at rcpt stays at its host", HOSTS_IN_ORDER + 'replies = { { phase = "rcpt", reply = "451 4.3.0 later" } }',
      first_host_alone(451))
fault("5xx at rcpt stays at its host", HOSTS_IN_ORDER + 'replies = { { phase = "rcpt", reply = "550 5.1.1 who" } }',
      first_host_alone(550))
fault("nobody listens", 'address = "$nobody"', waits("connect", "network"))


def no_answer_from_dns(s):
    assert s.finals() == set() and all(e["attempt"] == 0 for e in s.events), s.events


fault("null MX", "", bounced_at_once("connect", "not_accepting"), dns="null_mx")
fault("NXDOMAIN", "", bounced_at_once("connect", "no_such_domain"), dns="nxdomain")
fault("no MX and no address", "", bounced_at_once("connect", "no_such_domain"), dns="nodata")
fault("SERVFAIL", "", no_answer_from_dns, dns="servfail")
fault("no answer from DNS", "", no_answer_from_dns, dns="timeout")
fault("CNAME loop", "", no_answer_from_dns, dns="loop")
fault("implicit MX", "", all_delivered, dns="implicit_mx")
fault("DNS answer over TCP only", "", all_delivered, dns="truncated")
fault("nothing wrong", "", all_delivered, recipients=200)


def short(name):
    return re.sub(r"\W+", "-", name.lower())


def world_of(faults):
    """One receiver for each fault; and the addresses to listen at."""
    isps, dns, listen = [], [], []
    for i, (name, f) in enumerate(faults.items()):
        n, a, b = short(name), f"127.0.33.{2 * i + 1}", f"127.0.33.{2 * i + 2}"
        manners = string.Template(f.manners).substitute(n=n, a=a, b=b, nobody=f"127.0.34.{i + 1}")
        if "address" not in manners:
            manners = f'address = "{a}", ' + manners
        if "mx =" not in manners:
            manners = f'mx = {{ "mx.{n}.test" }}, ' + manners
        isps.append(f'["{n}"] = {{ domains = {{ "{n}.test" }}, {manners} }},')
        listen += [at for at in (a, b) if f'"{at}"' in manners]
        if f.dns:
            dns.append(f'["{n}.test"] = "{f.dns}",')
    return "return { isps = {\n" + "\n".join(isps) + "\n}, dns = {\n" + "\n".join(dns) + "\n} }\n", listen


@pytest.fixture(scope="module")
def together(hato, tmp_path_factory):
    """Every fault in one run: .seen by name."""
    folder = tmp_path_factory.mktemp("faults")
    people = {name: [f"p{i}@{short(name)}.test" for i in range(f.recipients)] for name, f in FAULTS.items()}
    world, listen = world_of(FAULTS)
    (folder / "world.lua").write_text(world)
    more = RETRY + "".join(string.Template(f.script).substitute(n=short(name)) for name, f in FAULTS.items())
    campaign = Campaign(hato, folder, {"people.csv": [a for some in people.values() for a in some]}, plain_script(more))
    with running_sink(hato, folder, listen=listen) as sink:
        outcome = campaign.run(sink.port, sink.dns, "--wait", "3 s")
    log = log_of(folder / "sink.log")
    seen = {name: Seen(outcome, log, f"{short(name)}.test", people[name]) for name in FAULTS}
    return types.SimpleNamespace(seen=seen, outcome=outcome, log=log, addresses=campaign.addresses, campaign=campaign)


@pytest.mark.parametrize("name", FAULTS)
def test_fault(together, name):
    FAULTS[name].expected(together.seen[name])


def test_everybody_is_accounted_for_once(together):
    together.outcome.account(together.addresses, [to for entry in together.log if entry["taken"] for to in entry["to"]])


def test_no_fault_holds_up_others(together):
    """Whatever they waited for, it was nothing that the receivers of others did."""
    waits = {(wait["kind"], wait["why"]) for address in together.seen["nothing wrong"].addresses
             for wait in together.campaign.told("why", address)[0]["waits"]}
    kinds = {kind for kind, _ in waits}
    assert "attempt" in kinds and kinds.isdisjoint({"measure", "site", "sockets", "limit", "none"}), waits
    assert all("to mx.nothing-wrong.test" in why for kind, why in waits if kind == "connections"), waits


# --- runs of their own ---


def test_no_name_server_at_all(hato, tmp_path):
    """Nothing listens at its address, then one that never answers: mail waits, nobody is blamed."""
    campaign = Campaign(hato, tmp_path, {"people.csv": ["a@one.test", "b@two.test"]}, plain_script(RETRY))
    campaign.run(PORTS.take(), PORTS.take(), "--wait", "0").account(campaign.addresses, [])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        outcome = campaign.run(PORTS.take(), silent.getsockname()[1], "--wait", "0", "--log", "error")
    assert outcome.counts["deferred"] == 2 and outcome.counts["bounced"] == outcome.counts["expired"] == 0


class Peer:
    """A receiver in Python at one address: talk(session, number) plays each connection, in a thread of its own."""

    class Session:
        def __init__(self, connection):
            self.connection, self.lines = connection, connection.makefile("rb")

        def say(self, *lines):
            self.connection.sendall("".join(line + "\r\n" for line in lines).encode())

        def hear(self):
            line = self.lines.readline()
            if not line:
                raise ConnectionError
            return line.decode().rstrip("\r\n")

        def mail(self):
            """From MAIL to the final dot, which is not answered: (from, to, text)."""
            envelope = []
            for answer in ("250 ok", "250 ok", "354 go on"):
                envelope.append(self.hear())
                self.say(answer)
            body = []
            while (line := self.hear()) != ".":
                body.append(line)
            return envelope[0], envelope[1].partition("<")[2].partition(">")[0], "\n".join(body)

        def hello(self, *extensions):
            self.say("220 mx.peer.test")
            assert self.hear().startswith("EHLO ")
            self.say(*(f"250-{word}" for word in ("mx.peer.test", *extensions)), "250 HELP")

    def __init__(self, address, port, talk):
        self.talk, self.taken, self.count = talk, [], 0
        self.listener = socket.create_server((address, port))
        self.threads = [threading.Thread(target=self.accept, daemon=True)]
        self.threads[0].start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.count += 1
            self.threads.append(threading.Thread(target=self.serve, args=(connection, self.count), daemon=True))
            self.threads[-1].start()

    def serve(self, connection, number):
        connection.settimeout(120)
        with connection:
            try:
                self.talk(self, self.Session(connection), number)
            except OSError:
                pass    # the other side went away, as some of these want

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.threads[0].join(5)


PEER_WORLD = """
return { isps = {
  peer = { domains = { "peer.test" }, mx = { "mx1.peer.test", "mx2.peer.test" }, address = { "127.0.35.1", "127.0.35.2" } },
  easy = { domains = { "easy.test" }, mx = { "mx.easy.test" }, address = "127.0.35.3" },
  slow = { domains = { "slow.test" }, mx = { "mx.slow.test" }, address = "127.0.35.4", extensions = { "SIZE" },
           bytes_per_second = 1 },
} }
"""


def against_peer(hato, tmp_path, talk, people=("a@peer.test",)):
    """A run against two hosts that are both this talk: (Outcome, Peer of the first, of the second, what was taken)."""
    (tmp_path / "world.lua").write_text(PEER_WORLD)
    campaign = Campaign(hato, tmp_path, {"people.csv": list(people)}, plain_script(RETRY))
    with running_sink(hato, tmp_path, listen=["127.0.35.3"]) as sink:
        peers = [Peer(f"127.0.35.{i}", sink.port, talk) for i in (1, 2)]
        try:
            outcome = campaign.run(sink.port, sink.dns, "--wait", "3 s")
        finally:
            for peer in peers:
                peer.close()
    taken = peers[0].taken + peers[1].taken
    outcome.account(campaign.addresses, [to for _, to, _ in taken])
    return outcome, peers, taken


def test_a_lost_answer_to_the_final_dot_is_told_and_tried_later_at_the_same_host(hato, tmp_path):
    def talk(peer, session, number):
        session.hello()
        peer.taken.append(session.mail())
        if number > 1:
            session.say("250 taken")
            session.hear()

    outcome, peers, taken = against_peer(hato, tmp_path, talk)
    assert outcome.kinds("a@peer.test") == ["ambiguous", "delivered"]
    assert sorted(peer.count for peer in peers) == [0, 2]
    assert len(taken) == 2 and taken[0] == taken[1], "the second try is the same mail to the byte"
    doubt, end = outcome.of("a@peer.test")
    assert doubt["phase"] == "eod" and doubt["mx"] == end["mx"] and seconds_of(end) - seconds_of(doubt) > 0.85
    assert outcome.counts["ambiguous"] == 1


def test_answers_of_512_lines(hato, tmp_path):
    def talk(peer, session, number):
        session.say(*(f"220-welcome {i}" for i in range(511)), "220 mx.peer.test")
        session.hear()
        session.say(*(f"250-X-{i}" for i in range(511)), "250 HELP")
        peer.taken.append(session.mail())
        session.say(*(f"250-taken {i}" for i in range(511)), "250 taken")
        assert session.hear() == "QUIT"

    outcome, _, taken = against_peer(hato, tmp_path, talk)
    assert outcome.kinds("a@peer.test") == ["delivered"] and len(taken) == 1


def test_an_answer_without_end_is_cut_off(hato, tmp_path):
    def talk(peer, session, number):
        session.hello()
        session.hear()
        while True:
            session.say(*(f"250-{i}" for i in range(1000)))

    outcome, peers, _ = against_peer(hato, tmp_path, talk)
    assert outcome.kinds("a@peer.test")[-1] == "expired"
    assert {e["class"] for e in outcome.of("a@peer.test")} == {"protocol", "expired"}


def test_an_answer_byte_by_byte_is_one_answer(hato, tmp_path):
    def talk(peer, session, number):
        say = session.say

        def slowly(*lines):
            for byte in "".join(line + "\r\n" for line in lines).encode():
                session.connection.sendall(bytes([byte]))
                time.sleep(0.01)

        session.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        session.say = slowly
        session.hello("PIPELINING")
        peer.taken.append(session.mail())
        session.say("250-2.0.0 taken", "250 2.0.0 really")
        session.say = say
        session.hear()

    outcome, _, _ = against_peer(hato, tmp_path, talk)
    (event,) = outcome.of("a@peer.test")
    assert event["type"] == "delivered" and event["enhanced"] == "2.0.0"


@pytest.mark.parametrize("answer", [("250-ok", "550 no"), ("250 ok", "250 and another"), ("354 go on",), ("999 what",)])
def test_an_answer_that_says_two_things_is_no_delivery(hato, tmp_path, answer):
    """After the final dot; what was meant is not known."""
    def talk(peer, session, number):
        session.hello()
        mail = session.mail()
        if number > 1 or answer[0] == "250 ok":
            peer.taken.append(mail)
        session.say(*(answer if number == 1 else ("250 taken",)))
        session.hear()

    outcome, _, taken = against_peer(hato, tmp_path, talk)
    if answer[0] == "250 ok":
        assert outcome.kinds("a@peer.test") == ["delivered"]
    else:
        assert outcome.kinds("a@peer.test") == ["ambiguous", "delivered"] and len(taken) == 1


def test_a_receiver_that_reads_a_byte_a_second_holds_up_nobody(hato, tmp_path):
    """Nor the end: Ctrl-C leaves it after the time for open transactions, and its mail waits for the next run."""
    (tmp_path / "world.lua").write_text(PEER_WORLD)
    people = ["a@slow.test", *(f"p{i}@easy.test" for i in range(100)), "b@slow.test"]
    campaign = Campaign(hato, tmp_path, {"people.csv": people}, plain_script(RETRY))
    with running_sink(hato, tmp_path, listen=["127.0.35.3", "127.0.35.4"]) as sink:
        began = time.monotonic()
        run = Program(campaign.command(sink.port, sink.dns, "--log", "error"))
        while sum(e["taken"] for e in log_of(tmp_path / "sink.log")) < 100:
            assert time.monotonic() - began < 120, run.output    # a slow mail takes longer
            time.sleep(0.05)
        code = run.stop(signal.SIGINT)
        outcome = Outcome(code, run.lines[-1], run.output, campaign.events())
        taken = [to for entry in log_of(tmp_path / "sink.log") if entry["taken"] for to in entry["to"]]
    outcome.account(campaign.addresses, taken)
    assert outcome.counts["delivered"] == 100 and outcome.counts["deferred"] == 2
