"""Where mail goes, judged against real name servers: nsd alone, which knows only its zones, and unbound in front
of it, which follows and caches. Both on free ports with their own folders."""
import json
import os
import shutil
import subprocess
import time

import pytest

dns_query = pytest.importorskip("dns.query")
import dns.exception  # noqa: E402
import dns.message  # noqa: E402

from conftest import PORTS  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("HATO_BUILD", os.path.join(ROOT, "build"))

ZONE = """$ORIGIN test.
$TTL 300
@            SOA   ns hostmaster 1 3600 600 86400 60
@            NS    ns
ns           A     127.0.0.1
listed       MX    20 mx2.listed
listed       MX    10 MX1.listed
listed       MX    10 mx0.listed
mx0.listed   A     192.0.2.10
mx1.listed   A     192.0.2.11
mx1.listed   AAAA  2001:db8::11
null         MX    0 .
implicit     A     192.0.2.20
implicit6    AAAA  2001:db8::20
textonly     TXT   "v=spf1 -all"
alias        CNAME listed
far          CNAME there.other.
dangling     CNAME nobody
loop         CNAME pool
pool         CNAME loop
cnamemx      MX    10 mxalias
mxalias      CNAME mx0.listed
literal      MX    10 192.0.2.1.
*.wild       MX    10 mx0.listed
key          TXT   "v=DKIM1; k=rsa; p=" "QUJD"
$TTL 86400
""" + "".join(f"big          MX    {i} host-with-a-long-name-{i:02}.of-the-big-one.example.\n" for i in range(60))

OTHER = """$ORIGIN other.
$TTL 120
@      SOA ns.test. hostmaster.test. 1 3600 600 86400 30
@      NS  ns.test.
there  MX  5 mx.there
"""

REVERSE = """$ORIGIN 2.0.192.in-addr.arpa.
$TTL 300
@      SOA ns.test. hostmaster.test. 1 3600 600 86400 60
@      NS  ns.test.
10     PTR mx0.listed.test.
"""


def program(name):
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if not path:
        pytest.skip(name + " is not installed")
    return path


def start(command, folder, port, name):
    """Run a name server until it answers; its output goes to a file of its folder."""
    log = open(folder / "log", "wb")
    process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    question = dns.message.make_query(name, "SOA")
    for _ in range(1000):
        try:
            dns_query.udp(question, "127.0.0.1", port=port, timeout=0.05)
            return process
        except (dns.exception.Timeout, OSError):
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.05)
    process.kill()
    raise AssertionError("no answer: " + (folder / "log").read_text())


def stop(process):
    process.terminate()
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def nsd(tmp_path_factory):
    folder, port = tmp_path_factory.mktemp("nsd"), PORTS.take()
    for zone, text in (("test", ZONE), ("other", OTHER), ("2.0.192.in-addr.arpa", REVERSE)):
        (folder / zone).write_text(text)
    # broken.test2 has no file: nsd answers SERVFAIL for it.
    zones = "".join(f'zone:\n  name: "{z}"\n  zonefile: "{z}"\n'
                    for z in ("test", "other", "2.0.192.in-addr.arpa", "broken.invalid2"))
    (folder / "nsd.conf").write_text(f"""server:
  ip-address: 127.0.0.1@{port}
  server-count: 1
  username: ""
  chroot: ""
  zonesdir: "{folder}"
  database: ""
  pidfile: "{folder}/pid"
  zonelistfile: "{folder}/zone.list"
  xfrdfile: "{folder}/xfrd.state"
  xfrdir: "{folder}"
remote-control:
  control-enable: no
{zones}""")
    process = start([program("nsd"), "-d", "-c", str(folder / "nsd.conf")], folder, port, "test")
    yield port
    stop(process)


@pytest.fixture(scope="module")
def unbound(nsd, tmp_path_factory):
    folder, port = tmp_path_factory.mktemp("unbound"), PORTS.take()
    stubs = "".join(f'stub-zone:\n  name: "{z}"\n  stub-addr: 127.0.0.1@{nsd}\n'
                    for z in ("test", "other", "2.0.192.in-addr.arpa", "broken.invalid2"))
    (folder / "unbound.conf").write_text(f"""server:
  interface: 127.0.0.1@{port}
  do-daemonize: no
  username: ""
  chroot: ""
  directory: "{folder}"
  pidfile: "{folder}/pid"
  use-syslog: no
  logfile: ""
  num-threads: 1
  module-config: "iterator"
  do-not-query-localhost: no
  local-zone: "test." nodefault
  local-zone: "2.0.192.in-addr.arpa." nodefault
remote-control:
  control-enable: no
{stubs}""")
    process = start([program("unbound"), "-d", "-p", "-c", str(folder / "unbound.conf")], folder, port, "test")
    yield port
    stop(process)


def probe(servers, *questions, timeout_ms=20000):
    command = [os.path.join(BUILD, "resolve_probe"), servers, str(timeout_ms)]
    for kind, name in questions:
        command += [kind, name]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    return [json.loads(line) for line in done.stdout.splitlines()]


LISTED = [[10, "mx0.listed.test"], [10, "mx1.listed.test"], [20, "mx2.listed.test"]]

# (kind, name) → what both servers must lead to
SAME = {
    ("mx", "listed.test"): dict(status="ok", mx="listed", hosts=LISTED, ttl=300),
    ("mx", "LISTED.Test."): dict(status="ok", mx="listed", hosts=LISTED),
    ("mx", "alias.test"): dict(status="ok", mx="listed", hosts=LISTED),
    ("mx", "far.test"): dict(status="ok", mx="listed", hosts=[[5, "mx.there.other"]], ttl=120),
    ("mx", "null.test"): dict(status="ok", mx="null", hosts=[]),
    ("mx", "implicit.test"): dict(status="ok", mx="implicit", hosts=[[0, "implicit.test"]], ttl=60),
    ("mx", "implicit6.test"): dict(status="ok", mx="implicit", hosts=[[0, "implicit6.test"]]),
    ("mx", "textonly.test"): dict(status="nodata", ttl=60),
    ("mx", "nobody.test"): dict(status="nxdomain", ttl=60),
    ("mx", "dangling.test"): dict(status="nxdomain"),
    ("mx", "cnamemx.test"): dict(status="ok", hosts=[[10, "mxalias.test"]]),
    ("mx", "literal.test"): dict(status="bad", skipped=1),
    ("mx", "any.wild.test"): dict(status="ok", hosts=[[10, "mx0.listed.test"]]),
    ("mx", "broken.invalid2"): dict(status="servfail", ttl=30),
    ("mx", "mx.broken.invalid2"): dict(status="servfail"),
    ("a", "mxalias.test"): dict(status="ok", addresses=["192.0.2.10"]),
    ("both", "mx1.listed.test"): dict(status="ok", addresses=["192.0.2.11", "2001:db8::11"]),
    ("aaaa", "mx0.listed.test"): dict(status="nodata"),
    ("a", "nobody.test"): dict(status="nxdomain"),
    ("txt", "key.test"): dict(status="ok", texts=["v=DKIM1; k=rsa; p=QUJD"]),
    ("ptr", "192.0.2.10"): dict(status="ok", texts=["mx0.listed.test"]),
    ("ptr", "192.0.2.99"): dict(status="nxdomain"),
}


def check(port, wanted, caches=False):
    answers = probe(f"127.0.0.1:{port}", *wanted)
    assert len(answers) == len(wanted)
    for (question, want), got in zip(wanted.items(), answers):
        if caches and "ttl" in want and 0 < got.get("ttl", 0) <= want["ttl"]:
            got["ttl"] = want["ttl"]    # it counts down there
        assert {k: got.get(k) for k in want} == want, question


def test_an_authoritative_server_is_understood(nsd):
    check(nsd, SAME)


def test_a_resolver_is_understood(unbound):
    check(unbound, SAME, caches=True)


def test_a_circle_of_aliases_judges_nobody(nsd, unbound):
    """nsd gives the aliases one by one or in part; unbound gives up and says SERVFAIL, or hands them on."""
    assert probe(f"127.0.0.1:{nsd}", ("mx", "loop.test"))[0]["status"] == "loop"
    assert probe(f"127.0.0.1:{unbound}", ("mx", "loop.test"))[0]["status"] in ("loop", "servfail")


def test_an_answer_too_long_for_udp_comes_whole(nsd, unbound):
    for port in (nsd, unbound):
        answer = probe(f"127.0.0.1:{port}", ("mx", "big.test"))[0]
        assert [pref for pref, _ in answer["hosts"]] == list(range(60))


def test_a_name_outside_the_servers_zones_is_refused_not_absent(nsd):
    assert probe(f"127.0.0.1:{nsd}", ("mx", "example.jp"))[0]["status"] == "refused"


def test_the_second_server_answers_where_the_first_is_gone(nsd):
    gone = PORTS.take()
    answer = probe(f"127.0.0.1:{gone},127.0.0.1:{nsd}", ("mx", "listed.test"))[0]
    assert answer["status"] == "ok"


def test_the_second_server_answers_where_the_first_does_not_know(nsd, unbound):
    answer = probe(f"127.0.0.1:{nsd},127.0.0.1:{unbound}", ("mx", "broken.invalid2"), ("mx", "null.test"))
    assert [a["status"] for a in answer] == ["servfail", "ok"]


def test_no_server_at_all_is_a_timeout():
    assert probe(f"127.0.0.1:{PORTS.take()}", ("mx", "listed.test"), timeout_ms=200)[0]["status"] == "timeout"
