"""Delivery to receivers that others wrote: Postfix's smtp-sink with its faults, a real Postfix, a real Exim that
verifies DKIM before it takes a mail."""
import contextlib
import os
import pathlib
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time

import pytest

from campaign import Campaign, plain_script, running_sink
from conftest import ROOT, Program

COUNT = 200
RETRY = 'hato.bounces { retry = { "1 s", "2 s", give_up = "6 s" } }\n'
AS_ROOT = [] if os.getuid() == 0 else ["sudo", "-n"]
SBIN = "/usr/sbin:/sbin:/usr/lib/postfix/sbin:" + os.environ["PATH"]
CERT, KEY = ROOT / "tests" / "golden" / "tls" / "cert.pem", ROOT / "tests" / "golden" / "tls" / "key.pem"


@pytest.fixture
def shared():
    """A folder that servers which give up root can reach."""
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(tempfile.mkdtemp(prefix="hato-mta."))
        stack.callback(subprocess.run, [*AS_ROOT, "rm", "-rf", folder], check=True)
        folder.chmod(0o755)
        yield folder


def world_of(hosts):
    """DNS for {name: address}, and one receiver that nobody sends to: the only one that hato sink plays."""
    isps = "".join(f'["{n}"] = {{ domains = {{ "{n}.test" }}, mx = {{ "mx.{n}.test" }}, address = "{a}" }},\n'
                   for n, a in hosts.items())
    return 'return { isps = { none = { domains = { "none.test" }, address = "127.0.36.250" },\n' + isps + "} }\n"


def until(true, what, seconds=20):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def accepts(address, port):
    import socket
    with socket.socket() as s:
        s.settimeout(1)
        return s.connect_ex((address, port)) == 0


# --- smtp-sink ---


def ends_as(*kinds, code=None):
    def check(name, events, taken):
        for address, some in events.items():
            assert [e["type"] for e in some] == list(kinds), (name, address, some)
            assert code is None or some[-1]["code"] == code, (name, some[-1])
    return check


def given_up(kind, phase, codes):
    """By the schedule, after some tries that ended like this."""
    def check(name, events, taken):
        for address, some in events.items():
            assert some[-1]["type"] == "expired" and {e["type"] for e in some[:-1]} == {kind}, (name, address, some)
            assert {(e["phase"], e["code"]) for e in some} == {(phase, codes)}, (name, some)
    return check


def waits(phase):
    def check(name, events, taken):
        told = [e for some in events.values() for e in some]
        assert all((e["type"], e["attempt"], e["phase"]) == ("deferred", 0, phase) for e in told), (name, told)
        assert taken == []
    return check


SINKS = {   # options of smtp-sink, recipients, what is expected
    "all": ([], COUNT, ends_as("delivered", code=250)),
    "no-pipelining": (["-p"], COUNT, ends_as("delivered", code=250)),
    "no-8bitmime": (["-8"], 20, ends_as("delivered", code=250)),
    "helo-only": (["-e"], 20, ends_as("delivered", code=250)),
    "slow-answer": (["-w", "1"], 2, ends_as("delivered", code=250)),
    "soft-rcpt": (["-r", "rcpt"], 4, given_up("deferred", "rcpt", 450)),
    "soft-data": (["-r", "data"], 4, given_up("deferred", "data", 450)),
    "soft-dot": (["-r", "."], 4, given_up("deferred", "eod", 450)),
    "soft-mail": (["-r", "mail"], 4, given_up("deferred", "mail", 450)),
    "own-words": (["-b", "452 4.2.2 mailbox full", "-r", "rcpt"], 4, given_up("deferred", "rcpt", 452)),
    "hard-rcpt": (["-f", "rcpt"], 4, ends_as("bounced", code=500)),
    "hard-data": (["-f", "data"], 4, ends_as("bounced", code=500)),
    "hard-dot": (["-B", "554 5.7.1 no", "-f", "."], 4, ends_as("bounced", code=554)),
    "hard-mail": (["-f", "mail"], 4, waits("mail")),
    "cut-connect": (["-q", "connect"], 4, waits("banner")),
    "cut-ehlo": (["-q", "ehlo"], 4, waits("ehlo")),
    "cut-mail": (["-q", "mail"], 4, given_up("deferred", "mail", None)),
    "cut-rcpt": (["-q", "rcpt"], 4, given_up("deferred", "rcpt", None)),
    "cut-data": (["-q", "data"], 4, given_up("deferred", "data", None)),
    "cut-dot": (["-q", "."], 4, given_up("ambiguous", "eod", None)),
    "421-ehlo": (["-Q", "ehlo"], 4, waits("ehlo")),
    "421-mail": (["-Q", "mail"], 4, given_up("deferred", "mail", 421)),
    "421-rcpt": (["-Q", "rcpt"], 4, given_up("deferred", "rcpt", 421)),
    "421-dot": (["-Q", "."], 4, given_up("deferred", "eod", 421)),
}


def test_smtp_sink_with_each_of_its_faults(hato, tmp_path, shared):
    hosts = {name: f"127.0.36.{i + 1}" for i, name in enumerate(SINKS)}
    people = {name: [f"p{i}@{name}.test" for i in range(n)] for name, (_, n, _) in SINKS.items()}
    (tmp_path / "world.lua").write_text(world_of(hosts))
    campaign = Campaign(hato, tmp_path, {"people.csv": [a for some in people.values() for a in some]}, plain_script(RETRY))
    with running_sink(hato, tmp_path, listen=["127.0.36.250"]) as sink, contextlib.ExitStack() as stack:
        for name, (options, _, _) in SINKS.items():
            (shared / name).mkdir()
            (shared / name).chmod(0o777)
            user = ["-u", "nobody"] if os.getuid() == 0 else []
            program = Program(["smtp-sink", *user, *options, "-d", shared / name / "m.", f"{hosts[name]}:{sink.port}", "100"],
                              env={**os.environ, "PATH": SBIN})
            stack.callback(program.stop)
        for address in hosts.values():
            until(lambda: accepts(address, sink.port), address)
        outcome = campaign.run(sink.port, sink.dns, "--wait", "3 s")
    # It also keeps what it refused at the final dot.
    taken = {name: [] if options[-1:] == ["."] else [re.search(r"^X-Rcpt-Args: <(.*?)>", mail.read_text(), re.M)[1] for mail in (shared / name).iterdir()]
             for name, (options, _, _) in SINKS.items()}
    outcome.account(campaign.addresses, [to for some in taken.values() for to in some])
    for name, (_, _, expected) in SINKS.items():
        expected(name, {a: outcome.of(a) for a in people[name]}, taken[name])
