"""hato check: what it says of scripts, and of senders whose DNS a real name server (nsd) answers for, right and wrong in
each way."""
import json
import os
import shutil
import socket
import subprocess
import time

import pytest

from conftest import PORTS, Program

SCRIPT = """
local hato = require "hato"
hato.source "mx1" { address = "192.0.2.1", ehlo = "mx1.example.test" }
hato.source "mx2" { address = "2001:db8::2", ehlo = "mx2.example.test" }
local news = hato.stream "news" {
  from = "News <news@m.example.test>", bounce = "b.example.test",
  dkim = { { domain = "m.example.test", selector = "s1", key = "rsa.pem" },
           { domain = "m.example.test", selector = "e1", key = "ed.pem" } },
  unsubscribe = { url = "https://example.test/u/{{ token }}", one_click = true },
}
hato.campaign "hello" { stream = news, to = hato.csv "people.csv", subject = "Hello {{ name }}", text = "Hi.\\n",
                        expire = "3 days" }
"""

# Each record a line, so that a test can take one out or put another in its place.
ZONES = {
    "example.test": [
        "@ SOA ns hostmaster 1 3600 600 86400 60", "@ NS ns", "ns A 127.0.0.1",
        "mx1 A 192.0.2.1", "mx2 AAAA 2001:db8::2",
        "m MX 10 mx1", "b MX 10 mx1",
        "b TXT \"v=spf1 ip4:192.0.2.1 include:spf.example.test -all\"", "spf TXT \"v=spf1 ip6:2001:db8::/64 -all\"",
        "_dmarc TXT \"v=DMARC1; p=reject; rua=mailto:d@example.test\"",
        "s1._domainkey.m TXT @RSA@", "e1._domainkey.m TXT @ED@",
    ],
    "2.0.192.in-addr.arpa": ["@ SOA ns.example.test. h.example.test. 1 3600 600 86400 60", "@ NS ns.example.test.",
                             "1 PTR mx1.example.test."],
    "8.b.d.0.1.0.0.2.ip6.arpa": ["@ SOA ns.example.test. h.example.test. 1 3600 600 86400 60", "@ NS ns.example.test.",
                                 "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0 PTR mx2.example.test."],
    "other.test": ["@ SOA ns.example.test. h.example.test. 1 3600 600 86400 60", "@ NS ns.example.test."],
}


def check(hato, folder, *words, script=None):
    if script is not None:
        (folder / "init.lua").write_text('local hato = require "hato"\n' + script)
    done = subprocess.run([hato, "check", str(folder / "init.lua"), "--json", *[str(word) for word in words]],
                          capture_output=True, text=True, timeout=60)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def keygen(hato, folder, selector, file, *more):
    out = subprocess.run([hato, "keygen", "m.example.test", selector, "--out", folder / file, *more],
                         capture_output=True, text=True, check=True).stdout
    return out.split(" TXT ")[1].strip()


@pytest.fixture(scope="module")
def sender(hato, tmp_path_factory):
    """A folder with the script, its keys and people; the records of the keys."""
    folder = tmp_path_factory.mktemp("sender")
    (folder / "init.lua").write_text(SCRIPT)
    (folder / "people.csv").write_text("email,name\na@example.test,A\n")
    return folder, {"@RSA@": keygen(hato, folder, "s1", "rsa.pem"),
                    "@ED@": keygen(hato, folder, "e1", "ed.pem", "--ed25519"),
                    "@OTHER@": keygen(hato, folder, "s1", "other.pem")}


class NameServer:
    """nsd with ZONES, in which `change` replaces records by others (None: takes them out)."""

    def __init__(self, folder, keys, change):
        change = dict(change)
        self.port = PORTS.take()
        program = shutil.which("nsd") or shutil.which("nsd", path="/usr/sbin:/sbin")
        if not program:
            pytest.skip("nsd is not installed")
        broken = change.pop("broken", [])
        for zone, records in ZONES.items():
            lines = []
            for record in records:
                new = change.pop(record, record)
                lines += [new] if isinstance(new, str) else new or []
            lines += change.pop("+" + zone, [])
            text = "\n".join(lines)
            for name, record in keys.items():
                text = text.replace(name, record)
            (folder / zone).write_text(f"$ORIGIN {zone}.\n$TTL 60\n{text}\n")
        assert not change, change
        # A zone without its file is answered with SERVFAIL.
        zones = "".join(f'zone:\n  name: "{z}"\n  zonefile: "{z}"\n' for z in [*ZONES, *broken])
        (folder / "nsd.conf").write_text(f"""server:
  ip-address: 127.0.0.1@{self.port}
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
        self.program = Program([program, "-d", "-c", folder / "nsd.conf"], cwd=folder)
        question = bytes.fromhex("000101000001000000000000") + b"\7example\4test\0\0\6\0\1"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(0.1)
            for _ in range(600):
                try:
                    s.sendto(question, ("127.0.0.1", self.port))
                    s.recv(512)
                    return
                except OSError:
                    assert self.program.process.poll() is None, self.program.output
                    time.sleep(0.05)
        pytest.fail("nsd does not answer: " + self.program.output)

    def stop(self):
        self.program.process.terminate()
        self.program.process.wait(60)


@pytest.fixture
def published(hato, sender, tmp_path):
    """A function: what `check --published` says while DNS is `change`d; by (check, source, name)."""
    folder, keys = sender

    def look(change):
        server = NameServer(tmp_path, keys, change)
        try:
            code, found, says = check(hato, folder, "--published", "--dns", f"127.0.0.1:{server.port}")
        finally:
            server.stop()
        assert not says
        return code, [line for line in found if line["check"] != "lint"]
    return look


def test_a_sender_that_is_right_is_told_so_line_by_line(published):
    code, lines = published({})
    assert code == 0
    assert [line for line in lines if line["level"] != "ok"] == []
    assert sorted(((line["check"], line["source"], line["stream"]) for line in lines), key=str) == sorted([
        ("ptr", "mx1", None), ("ehlo", "mx1", None), ("ptr", "mx2", None), ("ehlo", "mx2", None),
        ("from", None, "news"), ("bounce", None, "news"), ("spf", "mx1", "news"), ("spf", "mx2", "news"),
        ("spf", None, "news"), ("dkim", None, "news"), ("dkim", None, "news"), ("dmarc", None, "news"),
        ("alignment", None, "news"), ("mta-sts", None, "news")], key=str), lines
    text = {(line["check"], line["source"]): line["text"] for line in lines}
    assert text["ptr", "mx1"] == "192.0.2.1 is mx1.example.test, which leads back"
    assert text["spf", "mx2"] == "2001:db8::2 may send for b.example.test by include:spf.example.test"
    assert text["spf", None] == "the SPF record of b.example.test costs 1 of 10 look-ups"
    assert text["dmarc", None] == "the record of example.test asks for reject"


SPF = 'b TXT "v=spf1 ip4:192.0.2.1 include:spf.example.test -all"'
DMARC = '_dmarc TXT "v=DMARC1; p=reject; rua=mailto:d@example.test"'
RSA = "s1._domainkey.m TXT @RSA@"
PTR = "1 PTR mx1.example.test."

# Change of the zones; check, source; level; words of the text; words of what to publish.
WRONG = {
    "no PTR": ({PTR: None}, "ptr", "mx1", "error", "no PTR record", "1.2.0.192.in-addr.arpa. IN PTR mx1.example.test."),
    "PTR that does not lead back": ({PTR: "1 PTR mx2.example.test."}, "ptr", "mx1", "error", "does not lead back",
                                    "mx2.example.test. IN A 192.0.2.1"),
    "PTR with another name": ({PTR: "1 PTR out.example.test.", "+example.test": ["out A 192.0.2.1"]}, "ptr", "mx1", "note",
                              "its EHLO name is another: mx1.example.test", None),
    "PTR to a name that nobody answers for": ({PTR: "1 PTR mx.a.broken.test.", "broken": ["broken.test"]}, "ptr", "mx1", "unknown",
                                              "DNS gives no answer for mx.a.broken.test now", None),
    "EHLO name elsewhere": ({"mx1 A 192.0.2.1": "mx1 A 192.0.2.9"}, "ehlo", "mx1", "error", "has other addresses",
                            "mx1.example.test. IN A 192.0.2.1"),
    "EHLO name unknown": ({"mx2 AAAA 2001:db8::2": "mx2 A 192.0.2.2"}, "ehlo", "mx2", "error", "has no address",
                          "mx2.example.test. IN AAAA 2001:db8::2"),
    "no From domain": ({"m MX 10 mx1": None, RSA: None, "e1._domainkey.m TXT @ED@": None}, "from", None, "error",
                       "neither MX, address nor SOA", "m.example.test. IN MX 10"),
    "null MX of From": ({"m MX 10 mx1": "m MX 0 ."}, "from", None, "warning", "null MX", "m.example.test. IN MX"),
    "null MX of bounces": ({"b MX 10 mx1": "b MX 0 ."}, "bounce", None, "error", "bounces cannot come back",
                           "b.example.test. IN MX"),
    "address alone": ({"b MX 10 mx1": "b A 192.0.2.1"}, "bounce", None, "ok", "no MX but an address", None),
    "no SPF": ({SPF: None}, "spf", "mx1", "error", "b.example.test has no SPF record",
               'b.example.test. IN TXT "v=spf1 ip4:192.0.2.1 ip6:2001:db8::2 -all"'),
    "SPF without this source": ({SPF: 'b TXT "v=spf1 ip6:2001:db8::/64 ~all"'}, "spf", "mx1", "error",
                                "may not send for b.example.test: softfail by ~all",
                                'b.example.test. IN TXT "v=spf1 ip4:192.0.2.1 ip6:2001:db8::/64 ~all"'),
    "SPF for everybody": ({SPF: 'b TXT "v=spf1 +all"'}, "spf", "mx1", "warning", "so may everybody", "-all"),
    "SPF twice": ({SPF: ['b TXT "v=spf1 -all"', 'b TXT "v=spf1 ~all"']}, "spf", "mx1", "error", "2 SPF records", "record"),
    "SPF with a mistake": ({SPF: 'b TXT "v=spf1 ipv4:192.0.2.1 -all"'}, "spf", "mx1", "error",
                           '"ipv4:192.0.2.1" is no term of SPF', "mistake"),
    "SPF that costs too much": (
        {SPF: 'b TXT "v=spf1 ip4:192.0.2.1 ip6:2001:db8::2 ' + " ".join(["include:spf.example.test"] * 5) + '" " '
         + " ".join(["include:spf.example.test"] * 6) + ' -all"'}, "spf", None,
        "error", "costs 11 look-ups, and receivers stop after 10", "fewer include"),
    "SPF of names that are gone": ({SPF: 'b TXT "v=spf1 ip4:192.0.2.1 ip6:2001:db8::2 a:x.other.test a:y.other.test '
                                         'a:z.other.test -all"'}, "spf", None, "error", "3 look-ups of the SPF record",
                                   "take out"),
    "SPF that nobody answers": ({SPF: 'b TXT "v=spf1 include:a.broken.test -all"', "broken": ["broken.test"]}, "spf", "mx1",
                                "unknown", "cannot be evaluated now", None),
    "no DKIM key": ({RSA: None}, "dkim", None, "error", "s1._domainkey.m.example.test has no key",
                    "s1._domainkey.m.example.test. IN TXT \"v=DKIM1; k=rsa; p="),
    "another DKIM key": ({RSA: "s1._domainkey.m TXT @OTHER@"}, "dkim", None, "error", "is not the key in rsa.pem",
                         "s1._domainkey.m.example.test. IN TXT"),
    "a DKIM key of another type": ({RSA: "s1._domainkey.m TXT @ED@"}, "dkim", None, "error", "is not the key in rsa.pem",
                                   "k=rsa"),
    "a revoked DKIM key": ({RSA: 's1._domainkey.m TXT "v=DKIM1; p="'}, "dkim", None, "error", "revoked", "k=rsa"),
    "a DKIM key for SHA-1": ({RSA: 's1._domainkey.m TXT "h=sha1; " @RSA@'}, "dkim", None, "error",
                             "forbids SHA-256 or e-mail", "k=rsa"),
    "a DKIM key that is a test": ({RSA: 's1._domainkey.m TXT "t=y; " @RSA@'}, "dkim", None, "warning",
                                  "signatures count for nothing", "k=rsa"),
    "another text beside the DKIM key": ({RSA: [RSA, 's1._domainkey.m TXT "hello"']}, "dkim", None, "ok",
                                         "s1._domainkey.m.example.test is the key in rsa.pem", None),
    "two DKIM keys": ({RSA: [RSA, "s1._domainkey.m TXT @OTHER@"]}, "dkim", None, "error", "2 key records", "k=rsa"),
    "no DMARC": ({DMARC: None}, "dmarc", None, "error", "no DMARC record", "_dmarc.m.example.test. IN TXT \"v=DMARC1; p=none"),
    "two DMARC records": ({DMARC: [DMARC, '_dmarc TXT "v=DMARC1; p=none"']}, "dmarc", None, "error", "more than one record",
                          "one record"),
    "DMARC with an old tag": ({DMARC: '_dmarc TXT "v=DMARC1; p=none; pct=5; rua=mailto:d@example.test"'}, "dmarc", None,
                              "warning", '"pct=5", which counts for nothing', "without it"),
    "DMARC without reports": ({DMARC: '_dmarc TXT "v=DMARC1; p=none"'}, "dmarc", None, "note", "nobody reports to you", None),
    "DMARC as a test": ({DMARC: '_dmarc TXT "v=DMARC1; p=reject; t=y; rua=mailto:d@example.test"'}, "dmarc", None, "ok",
                        ", as a test", None),
    "DMARC reports to others": ({DMARC: '_dmarc TXT "v=DMARC1; p=none; rua=mailto:d@other.test"'}, "dmarc", None, "warning",
                                "does not say that it takes them",
                                'example.test._report._dmarc.other.test. IN TXT "v=DMARC1"'),
    "DMARC that is strict": ({DMARC: '_dmarc TXT "v=DMARC1; p=none; aspf=s; rua=mailto:d@example.test"'}, "alignment", None,
                             "ok", "agrees with the signature of m.example.test", None),
    "subdomains of their own": (
        {DMARC: '_dmarc TXT "v=DMARC1; p=reject; sp=quarantine; rua=mailto:d@example.test"'}, "dmarc", None, "ok",
        "the record of example.test asks for quarantine", None),
    "MTA-STS": ({"+example.test": ['_mta-sts.b TXT "v=STSv1; id=7"', "mta-sts.b A 192.0.2.3"]}, "mta-sts", None, "ok",
                "has a policy at mta-sts.b.example.test", None),
    "MTA-STS over IPv6": ({"+example.test": ['_mta-sts.b TXT "v=STSv1; id=7"', "mta-sts.b AAAA 2001:db8::3"]}, "mta-sts",
                          None, "ok", "has a policy at mta-sts.b.example.test", None),
    "MTA-STS whose host nobody answers for": (
        {"+example.test": ['_mta-sts.b TXT "v=STSv1; id=7"'], "broken": ["mta-sts.b.example.test"]}, "mta-sts", None,
        "unknown", "DNS gives no answer for mta-sts.b.example.test now", None),
    "another text in the place of MTA-STS": ({"+example.test": ['_mta-sts.b TXT "id=hello"']}, "mta-sts", None, "ok",
                                             "has no MTA-STS policy", None),
    "MTA-STS without its host": ({"+example.test": ['_mta-sts.b TXT "v=STSv1; id=7"']}, "mta-sts", None, "error",
                                 "has no address", "mta-sts.b.example.test. IN A"),
    "MTA-STS twice": ({"+example.test": ['_mta-sts.b TXT "v=STSv1; id=7"', '_mta-sts.b TXT "v=STSv1; id=8"',
                                         "mta-sts.b A 192.0.2.3"]}, "mta-sts", None, "error", "stands 2 times", "id=1"),
    "MTA-STS without id": ({"+example.test": ['_mta-sts.b TXT "v=STSv1"', "mta-sts.b A 192.0.2.3"]}, "mta-sts", None,
                           "error", "has no id=", "id=1"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named_with_what_to_publish(case, published):
    change, what, source, level, text, publish = WRONG[case]
    code, lines = published(change)
    mine = [line for line in lines if line["check"] == what and line["source"] == source and text in line["text"]]
    assert mine, [line for line in lines if line["check"] == what]
    assert mine[0]["level"] == level
    assert (publish or "") in (mine[0]["publish"] or "")
    assert (mine[0]["publish"] is None) == (publish is None)
    assert code == (1 if any(line["level"] in ("error", "unknown") for line in lines) else 0)


def test_strangers_signatures_do_not_agree(hato, sender, tmp_path, published):
    folder, _ = sender
    script = SCRIPT.replace('domain = "m.example.test"', 'domain = "other.test"').replace("b.example.test", "b.other.test")
    was = (folder / "init.lua").read_text()
    (folder / "init.lua").write_text(script)
    try:
        _, lines = published({})
    finally:
        (folder / "init.lua").write_text(was)
    assert any(line["check"] == "alignment" and line["level"] == "error"
               and "agrees with no signature and not with the return path of b.other.test" in line["text"] for line in lines)


@pytest.mark.parametrize("dkim, policy, level, text", [
    ("m.example.test", "p=none", "ok", "the signature of m.example.test and the return path of b.example.test"),
    ("m.example.test", "p=none; aspf=s", "ok", "the signature of m.example.test"),
    ("example.test", "p=none; aspf=s", "ok", "the signature of example.test"),
    ("example.test", "p=none; adkim=s", "warning",
     "the return path of b.example.test, but with no signature: forwarded mail fails DMARC"),
    ("example.test", "p=none; adkim=s; aspf=s", "error",
     "no signature and not with the return path of b.example.test (strict alignment): its mail fails DMARC"),
])
def test_alignment_is_as_strict_as_the_record_says(sender, published, dkim, policy, level, text):
    folder, _ = sender
    was = (folder / "init.lua").read_text()
    (folder / "init.lua").write_text(SCRIPT.replace('domain = "m.example.test"', f'domain = "{dkim}"'))
    try:
        _, lines = published({DMARC: f'_dmarc TXT "v=DMARC1; {policy}; rua=mailto:d@example.test"'})
    finally:
        (folder / "init.lua").write_text(was)
    assert [(line["level"], line["text"]) for line in lines if line["check"] == "alignment"] == [
        (level, f"m.example.test agrees with {text}")]


@pytest.mark.parametrize("rua, change", [
    ("mailto:d@example.test!10m", {}),
    ("https://other.test/d@other.test", {}),
    ("mailto:d@other.test", {"+other.test": ['example.test._report._dmarc TXT "v=DMARC1"']}),
    ("mailto:d@a.broken.test", {"broken": ["broken.test"]}),
])
def test_reports_go_where_they_are_taken(published, rua, change):
    _, lines = published({DMARC: f'_dmarc TXT "v=DMARC1; p=reject; rua={rua}"', **change})
    assert [(line["level"], line["text"]) for line in lines if line["check"] == "dmarc"] == [
        ("ok", "the record of example.test asks for reject")]


def test_no_answer_above_a_dmarc_record_changes_nothing(published):
    _, lines = published({DMARC: None, "broken": ["_dmarc.example.test"],
                          "+example.test": ['_dmarc.m TXT "v=DMARC1; p=reject; rua=mailto:d@m.example.test"']})
    assert [(line["level"], line["text"]) for line in lines if line["check"] == "dmarc"] == [
        ("ok", "the record of m.example.test asks for reject")]


def test_a_short_key_is_named_where_it_is_published(sender, published):
    folder, _ = sender

    def openssl(*words):
        return subprocess.run(["openssl", *words], capture_output=True, text=True, check=True).stdout
    was = (folder / "init.lua").read_text()
    openssl("genrsa", "-out", str(folder / "short.pem"), "1024")
    os.chmod(folder / "short.pem", 0o600)
    bits = "".join(openssl("rsa", "-in", str(folder / "short.pem"), "-pubout").splitlines()[1:-1])
    (folder / "init.lua").write_text(SCRIPT.replace("rsa.pem", "short.pem"))
    try:
        code, lines = published({RSA: f's1._domainkey.m TXT "v=DKIM1; k=rsa; p={bits}"'})
    finally:
        (folder / "init.lua").write_text(was)
    assert code == 0 and [(line["level"], line["text"]) for line in lines if line["level"] != "ok"] == [
        ("warning", "s1._domainkey.m.example.test is the key, of 1024 bits; 2048 are wanted (RFC 8301)")]


def test_what_a_script_leaves_out_is_said(sender, published):
    folder, _ = sender
    was = (folder / "init.lua").read_text()
    (folder / "init.lua").write_text("""local hato = require "hato"
hato.stream "news" { from = "News <news@example.test>", bounce = "other.test" }
""")
    try:
        code, lines = published({})
    finally:
        (folder / "init.lua").write_text(was)
    said = {(line["check"], line["level"]): line["text"] for line in lines}
    assert code == 1
    assert "no source is declared, so its address is not known here" in said["ptr", "note"]
    assert "example.test exists, but has neither MX nor address" in said["from", "warning"]
    assert "other.test exists, but has neither MX nor address" in said["bounce", "error"]
    assert said["spf", "error"] == "other.test has no SPF record"
    assert said["dkim", "error"] == "the stream is not signed: give it `dkim`; hato keygen makes a key"


def test_no_name_server_is_no_verdict(hato, sender):
    folder, _ = sender
    code, lines, _ = check(hato, folder, "--published", "--dns", f"127.0.0.1:{PORTS.take()}")
    levels = {line["level"] for line in lines if line["check"] not in ("lint", "alignment")}
    assert code == 1 and levels == {"unknown"}, lines
    done = subprocess.run([hato, "check", folder / "init.lua", "--published", "--dns", f"127.0.0.1:{PORTS.take()}"],
                          capture_output=True, text=True, timeout=60, check=False)
    unknown = sum(line["level"] == "unknown" for line in lines)
    assert f"; DNS gave no answer {unknown} times: try again" in done.stdout.splitlines()[-1], done.stdout


LINT = {
    'hato.stream "s" { from = "a@example.test" }': [
        'stream "s" is bulk mail without `unsubscribe`', "has no `bounce` domain", 'stream "s" is not signed'],
    'hato.source "a" { address = "192.0.2.200", ehlo = "a.test" }\nhato.stream "s" { from = "a@example.test" }': [
        "192.0.2.200 is no address of this machine"],
    'hato.source "a" { address = "127.0.0.1", ehlo = "a.test" }\nhato.source "b" { address = "127.0.0.1", ehlo = "b.test" }\n'
    'hato.pool "p" { "a" }\nhato.stream "s" { from = "a@example.test", pool = "p" }': [
        'source "b" is in no stream\'s pool', 'source "b" has the address of "a"'],
    'hato.stream "s" { from = "a@example.test" }\nhato.isp "x" { mx = "x.test", family = "ipv6" }': [
        'isp "x" takes IPv6 only, and stream "s" has no such source'],
    'hato.isp "x" { mx = "x.test" }\nhato.isp "y" { mx = { "x.test", "y.test" } }': [
        'isp "y": nothing can match "x.test": isp "x" has the same pattern'],
    'hato.isp "x" { mx = { "x.test", "X.test" } }': ['"X.test" stands twice'],
    'hato.limit { by = { "isp" }, rate = "40/s" }\nhato.limit { by = { "isp" }, rate = "2000/min" }': [
        "this limit is never felt"],
    'hato.bounces { { code = { 500, 599 }, class = "policy" }, { code = 550, enhanced = "5.7.1", class = "spam" } }': [
        "rule 2 can never fire: rule 1 takes all"],
    'hato.bounces { { isp = "gmial", text = "x", class = "spam" } }': [
        'rule 1 can never fire: no isp is called "gmial"; did you mean "gmail"?'],
    'hato.bounces { retry = { "3 days", give_up = "2 days" } }': ["nothing is ever tried again"],
    'hato.bounces { retry = { "1 day", "3 days", "4 days", give_up = "2 days" } }': [
        "the wait number 2 (3 days) ends behind give_up (2 days): it and those after it are never used"],
    'hato.bounces { { class = "spam", act = hato.slow() }, { class = "spam", act = hato.suspend() } }': [
        "rule 2 can never fire: rule 1 is asked before it and knows all its classes"],
    'hato.bounces { { isp = "microsft", failure = "lost", act = hato.slow() } }': ["rule 1 can never fire: no isp is called"],
    'hato.tz = "UTC"': ["the script declares no stream: nothing can be sent"],
    'hato.stream "s" { from = "a@example.test", unsubscribe = { url = "https://example.test/u/{{ token }}" } }': [
        'stream "s" has no one_click'],
    'hato.source "a" { address = "::1", ehlo = "a.test" }\nhato.source "b" { address = "127.0.0.1", ehlo = "b.test" }\n'
    'hato.pool "p" { "a" }\nhato.stream "s" { from = "a@example.test", pool = "p" }': ['stream "s" has IPv6 sources only'],
}


@pytest.mark.parametrize("script", LINT)
def test_scripts_are_looked_over(script, hato, tmp_path):
    code, found, _ = check(hato, tmp_path, script=script)
    for want in LINT[script]:
        assert any(want in line["text"] for line in found), found
    assert code == (1 if any(line["level"] == "error" for line in found) else 0)


GOOD = """hato.source "a" { address = "127.0.0.1", ehlo = "a.example.test" }
local s = hato.stream "s" { from = "a@example.test", bounce = "b.example.test",
  dkim = { { domain = "example.test", selector = "s1", key = "key.pem" } },
  unsubscribe = { url = "https://example.test/u/{{ token }}", one_click = true } }
"""
HELLO = """hato.campaign "hello" { stream = s, to = hato.csv "people.csv", subject = "Hello {{ name }}", text = "Hi.\\n",
  expire = "%s" }
"""


@pytest.fixture
def folder(hato, tmp_path):
    keygen(hato, tmp_path, "s1", "key.pem")
    (tmp_path / "people.csv").write_text("email,name\n" + "".join(f"p{i}@example.test,P\n" for i in range(5000)))
    return tmp_path


def test_a_script_without_fault_is_told_so(hato, folder):
    code, found, _ = check(hato, folder, script=GOOD + HELLO % "3 days")
    assert (code, found) == (0, [])
    done = subprocess.run([hato, "check", folder / "init.lua"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "nothing to find fault with\n")


# After GOOD: all that is found, word by word where it is one; what is right has nothing, and may not come near it.
PRECISE = {
    'hato.stream "t" { from = "t@example.test", bounce = "b.example.test", priority = "normal", '
    'unsubscribe = { url = "https://example.test/u/{{ token }}" }, '
    'dkim = { { domain = "example.test", selector = "s1", key = "key.pem" }, '
    '{ domain = "example.test", selector = "s2", key = "key.pem" }, '
    '{ domain = "other.test", selector = "s1", key = "key.pem" } } }': [],
    'hato.stream "t" { from = "t@example.test", bounce = "b.example.test", unsubscribe = { mailto = "u@example.test" }, '
    'dkim = { { domain = "below.example.test", selector = "s1", key = "key.pem" } } }': [],
    'hato.stream "t" { from = "t@news.example.test", bounce = "b.example.test", unsubscribe = { mailto = "u@example.test" }, '
    'dkim = { { domain = "example.test", selector = "s1", key = "key.pem" } } }': [],
    'hato.stream "t" { from = "t@example.test", bounce = "b.example.test", priority = "normal", '
    'dkim = { { domain = "example.test", selector = "s1", key = "key.pem" } } }': [],
    'hato.isp "mine" { mx = "google.com", domains = { "*.x.test", "x.test" } }': [],
    'hato.isp "x" { domains = "x.test" }\nhato.isp "y" { mx = "y.test", domains = { "x.test", "*.x.test" } }': [
        'isp "y": nothing can match "x.test": isp "x" has the same pattern and comes first'],
    'hato.isp "x" { domains = "*.x.test" }\nhato.isp "y" { domains = { "*.x.test" } }': [
        'isp "y": nothing can match "*.x.test": isp "x" has the same pattern and comes first'],
    'hato.limit { by = { "isp" }, rate = "40/s" }\nhato.limit { by = { "stream" }, rate = "40/s" }': [],
    'hato.limit { by = { "isp" }, rate = "40/s" }\nhato.limit { by = { "isp" }, rate = "50/s", recipients = "1/s" }': [],
    'hato.limit { by = { "isp" }, rate = "40/s" }\nhato.limit { by = { "isp" }, rate = "50/s", new_connections = "1/s" }': [],
    'hato.limit { by = { "isp" }, rate = "40/s" }\nhato.limit { by = { "isp" }, rate = "50/s", connections = 3 }': [],
    'hato.limit { by = { "isp" }, connections = 3 }\nhato.limit { by = { "isp" }, connections = 4 }': [
        "this limit is never felt: the one at init.lua:6 counts by the same and is as tight"],
    'hato.limit { by = { "isp" }, rate = "40/s" }\nhato.limit { by = { "isp" }, rate = "40/s" }': [
        "this limit is never felt: the one at init.lua:6 counts by the same and is as tight"],
    'hato.bounces { { isp = "microsoft", text = "x", class = "spam" } }': [],
    'hato.bounces { { class = "spam", act = hato.slow() }, { class = "spam", act = hato.suppress "1 day" } }': [],
    'hato.bounces { { class = "spam", act = hato.slow() }, { kind = "hard", act = hato.slow() } }': [],
    'hato.bounces { { kind = "soft", act = hato.slow() }, { kind = "hard", act = hato.slow() } }': [],
    'hato.bounces { { isp = "gmail", failure = "lost", act = hato.slow() }, { isp = "yahoo", failure = "lost", '
    'act = hato.slow() } }': [],
    'hato.bounces { { failure = "lost", act = hato.slow() }, { isp = "yahoo", failure = "lost", act = hato.slow() } }': [
        "rule 2 can never fire: rule 1 is asked before it and knows all its classes"],
    HELLO.replace("expire", 'at = "2020-01-01 10:00", late = "6 h", expire') % "3 days": [
        'campaign "hello": its time is over by more than `late` (6 h): it does not start any more'],
    'hato.limit { by = { "campaign" }, rate = "10/min" }\n' + HELLO.replace('expire = "%s"', ""): [
        'campaign "hello" never expires: under the limit at init.lua:6 the last of some 5000 people would have their turn '
        "after 8 h"],
    'hato.limit { by = { "source" }, recipients = "1/min" }\nhato.source "b" { address = "127.0.0.2", ehlo = "b.test" }\n'
    + HELLO % "1 day": [
        'campaign "hello": under the limit at init.lua:6 the last of some 5000 people would have their turn after 42 h, and '
        "mail expires after 1 day"],
    HELLO.replace("people.csv", "other.csv") % "1 day": [
        'campaign "hello": other.csv: no column of the header line is the address: call it email (or メールアドレス), or say map '
        '= { email = "…" }'],
    HELLO.replace("people.csv", "some.csv") % "1 day": [
        'campaign "hello": some of the first 2 people are bad rows, as line 3: "b@@example.test" has two @'],
}


@pytest.mark.parametrize("script", PRECISE)
def test_it_says_that_and_nothing_else(script, hato, sender, tmp_path):
    shutil.copy(sender[0] / "rsa.pem", tmp_path / "key.pem")
    for name, people in {"people.csv": "".join(f"p{i}@example.test,P\n" for i in range(5000)),
                         "some.csv": "a@example.test,A\nb@@example.test,B\n"}.items():
        (tmp_path / name).write_text("email,name\n" + people)
    (tmp_path / "other.csv").write_text("who,name\na@example.test,A\n")
    _, found, says = check(hato, tmp_path, script=GOOD + script)
    assert not says
    assert [line["text"].replace(f"{tmp_path}/", "") for line in found] == PRECISE[script]


def test_where_every_source_is_ipv6_a_table_without_a_family_is_no_fault(hato, tmp_path):
    _, found, _ = check(hato, tmp_path, script='hato.source "a" { address = "::1", ehlo = "a.test" }\n'
                        'hato.stream "s" { from = "a@example.test", priority = "urgent" }\nhato.isp "x" { mx = "x.test" }')
    assert not [line for line in found if line["level"] == "error"], found


def test_a_script_without_streams_has_no_idle_source(hato, tmp_path):
    _, found, _ = check(hato, tmp_path, script='hato.source "a" { address = "127.0.0.1", ehlo = "a.test" }')
    assert [(line["level"], line["text"]) for line in found] == [
        ("note", "the script declares no stream: nothing can be sent")]


def test_people_read_where_it_is(hato, folder):
    (folder / "init.lua").write_text('local hato = require "hato"\n' + GOOD + 'hato.isp "x" { mx = { "x.test", "x.test" } }')
    done = subprocess.run([hato, "check", folder / "init.lua"], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.replace(f"{folder}/", "")) == (0, 'init.lua:6: warning: isp "x": "x.test" stands twice\n'
                                                                        "1 finding, 0 of them errors\n")


def test_signatures_are_looked_at(hato, folder):
    def texts(dkim):
        _, found, _ = check(hato, folder, script=GOOD.replace('{ domain = "example.test", selector = "s1", key = "key.pem" }',
                                                               dkim))
        return [(line["level"], line["text"]) for line in found]
    one = '{ domain = "%s", selector = "s1", key = "%s" }'
    assert texts(one % ("example.test", "key.pem")) == []
    assert texts(", ".join([one % ("example.test", "key.pem")] * 2)) == [
        ("error", 'stream "s": dkim[1] and dkim[2] are the same selector')]
    (level, text), = texts(one % ("other.test", "key.pem"))
    assert level == "warning" and "no signature is of its From domain example.test or one above" in text
    subprocess.run(["openssl", "genrsa", "-out", folder / "weak.pem", "1024"], check=True, capture_output=True)
    os.chmod(folder / "weak.pem", 0o600)
    assert texts(one % ("example.test", "weak.pem")) == [
        ("warning", 'stream "s": weak.pem has 1024 bits; 2048 are wanted (RFC 8301)')]


def test_people_keys_and_time_are_looked_at(hato, folder):
    os.chmod(folder / "key.pem", 0o640)
    code, found, _ = check(hato, folder, script=GOOD + 'hato.limit { by = { "campaign" }, rate = "10/min" }\n'
                           + HELLO % "2 min")
    texts = [line["text"] for line in found]
    assert any("others can read the key key.pem (mode 0640)" in text for text in texts), texts
    assert any("expires after 2 min, before the first retry (5 min)" in text for text in texts), texts
    assert any("the last of some 5000 people would have their turn after 8 h, and mail expires after 2 min" in text
               for text in texts), texts
    os.chmod(folder / "key.pem", 0o600)
    (folder / "people.csv").write_text("email,nome\na@example.test,A\nb@example.test,B\n")
    code, found, _ = check(hato, folder, script=GOOD + HELLO % "3 days")
    assert code == 1 and "all of the first 2 people would be bad rows, as line 2: subject:1:7: 'name' is missing" \
        in found[0]["text"], found


ISP = 'hato.isp "x" { domains = { "example.test" }, mx = "mx.example.test"%s }\n'
SECOND = """hato.source "b" { address = "127.0.0.2", ehlo = "b.example.test" }
"""

# What holds mail back → when the last of 5,000 people has their turn, and how loudly that is said. Of 4,000 people at
# example.test and 1,000 at other.test where the limit is by receiver.
LAST = [
    ('hato.limit { by = { "stream" }, rate = "10/min" }', "limit", "8 h", "note"),
    ('hato.limit { by = { "stream" }, rate = "100/h" }', "limit", "2 days", "warning"),
    ('hato.limit { by = { "isp" }, rate = "100/h" }', "limit", "40 h", "warning"),
    ('hato.limit { by = { "isp", "campaign" }, rate = "100/h" }', "limit", "40 h", "warning"),
    ('hato.limit { by = { "domain" }, recipients = "100/h" }', "limit", "40 h", "warning"),
    ('hato.limit { by = { "mx", "source" }, rate = "100/h" }', "limit", "40 h", "warning"),
    (SECOND + 'hato.limit { by = { "mx", "source" }, rate = "100/h" }', "limit", "20 h", "note"),
    ('hato.limit { by = { "pool" }, rate = "1/h" }', None, None, None),
    ('hato.limit { by = { "isp" }, rate = "100/h" }\nhato.limit { by = { "source" }, rate = "50/h" }', "limit", "4 days", "warning"),
    (ISP % ', rate = "100/h"', "rate of isp x", "40 h", "warning"),
    (SECOND + ISP % ', recipients = "100/h"', "rate of isp x", "20 h", "note"),
    (ISP % "" + 'hato.warmup "a" { isp = "x", curve = { 10, 20 }, hold = 2 }', "warm-up", "9 days", "warning"),
    (ISP % "" + 'hato.warmup "a" { curve = { 10 } }', "warm-up", "17 days", "warning"),
    ('hato.warmup "a" { curve = { 10 } }', "warm-up", "17 days", "warning"),
    (SECOND + 'hato.warmup "a" { curve = { 10 } }', None, None, None),
    (SECOND + 'hato.warmup "a" { curve = { 10 } }\nhato.warmup "b" { curve = { 10 } }', "warm-up", "8 days", "warning"),
    (SECOND + 'hato.pool "p" { "b" }\nhato.warmup "a" { curve = { 10 }, overflow = "p" }\nhato.warmup "b" { curve = { 10 } }',
     None, None, None),
]


@pytest.mark.parametrize("held", LAST)
def test_a_campaign_without_an_end_is_told_when_its_last_mail_leaves(held, hato, folder):
    limits, kind, after, level = held
    (folder / "people.csv").write_text("email,name\n" + "".join(
        f"p{i}@{'other' if i % 5 == 0 else 'example'}.test,P\n" for i in range(5000)))
    never = HELLO.replace('  expire = "%s"', "")
    _, found, _ = check(hato, folder, script=GOOD + limits + "\n" + never)
    said = [(line["level"], line["text"]) for line in found if "never expires" in line["text"]]
    if not kind:
        assert said == []
        return
    assert said and said[0][0] == level and f"under the {kind} at " in said[0][1] and \
        f"the last of some 5000 people would have their turn after {after}" in said[0][1], found
    _, found, _ = check(hato, folder, script=GOOD + limits + "\n" + HELLO % "2 h")
    assert any(f"would have their turn after {after}, and mail expires after 2 h" in line["text"] for line in found), found
    _, found, _ = check(hato, folder, script=GOOD + limits + "\n" + HELLO % "30 days")
    assert not any("would have their turn" in line["text"] for line in found), found


def test_a_run_says_when_its_last_mail_leaves_once_people_are_read(hato, folder):
    def run(rate, more=""):
        (folder / "init.lua").write_text('local hato = require "hato"\n' + GOOD + 'hato.limit { by = { "stream" }, rate = "%s" }\n' % rate
                                         + HELLO.replace('expire = "%s"', 'at = "2099-01-01 00:00"' + more))
        shutil.rmtree(folder / "state", ignore_errors=True)
        done = subprocess.run([hato, "run", folder / "init.lua", "--state", folder / "state", "--wait", "0", "--yes"],
                              capture_output=True, text=True, timeout=60, check=True)
        return done.stderr
    assert "never expires: under the limit at " in run("100/h")
    assert "the last of some 5000 people would have their turn after 2 days" in run("100/h")
    assert "would have their turn" not in run("1000/h")  # 5 h
    assert "their turn after 5 h, and mail expires after 2 h" in run("1000/h", ', expire = "2 h"')


def test_a_script_that_does_not_load_is_an_error(hato, folder):
    code, found, says = check(hato, folder, script=GOOD.replace("bounce", "bunce"))
    assert code == 2 and not found and 'unknown option "bunce"; did you mean "bounce"?' in says
    (folder / "bad.pem").write_text("no key\n")
    code, found, says = check(hato, folder, script=GOOD.replace("key.pem", "bad.pem"))
    assert code == 2 and not found and "dkim key bad.pem: not a private key" in says, says
    code, _, says = check(hato, folder, script=GOOD + (HELLO % "3 days").replace("{{ name }}", "{{ name"))
    assert code == 2 and "init.lua" in says, says


def own_address():
    """An address of this machine beyond loopback; no packet is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        try:
            s.connect(("192.0.2.1", 9))
            address = s.getsockname()[0]
        except OSError:
            address = "127.0.0.1"
    if address.startswith("127."):
        pytest.skip("this machine has loopback alone")
    return address


HELD = """local hato = require "hato"
hato.source "mx1" { address = "%s", ehlo = "mx1.example.test" }
local news = hato.stream "news" { from = "News <news@m.example.test>",
  dkim = { { domain = "m.example.test", selector = "s1", key = "rsa.pem" } } }
local plain = hato.stream "plain" { from = "Plain <plain@m.example.test>" }
hato.campaign "hello" { stream = news, to = hato.csv "people.csv", subject = "Hello", text = "Hi.\\n" }
hato.campaign "other" { stream = plain, to = hato.csv "people.csv", subject = "Hello", text = "Hi.\\n" }
"""


def run_beyond(hato, folder, zones, keys, change, address, port):
    server = NameServer(zones, keys, change)
    try:
        done = subprocess.run([hato, "run", folder / "init.lua", "--state", folder / "state", "--smtp-port", str(port),
                               "--dns", f"127.0.0.1:{server.port}", "--wait", "3 s", "--json"], capture_output=True,
                              text=True, timeout=60)
    finally:
        server.stop()
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


@pytest.fixture
def beyond(hato, sender, tmp_path, start):
    """A function: two campaigns, one signed, to a receiver that is no loopback address."""
    address, port = own_address(), PORTS.take()
    start([hato, "sink", "--listen", f"{address}:{port}", "--discard"]).wait_for("sink: ready")
    folder, keys = sender
    here = tmp_path / "sender"
    here.mkdir()
    for file in ("rsa.pem", "ed.pem"):
        shutil.copy(folder / file, here / file)
    (here / "people.csv").write_text("email\na@other.test\nb@other.test\n")
    (here / "init.lua").write_text(HELD % address)
    receiver = {"+other.test": ["@ MX 10 mx", f"mx A {address}", "second MX 10 mx2", f"mx2 A {address}"]}

    def go(change):
        zones = tmp_path / "zones"
        zones.mkdir(exist_ok=True)
        return run_beyond(hato, here, zones, keys, {**receiver, **change}, address, port)
    go.folder = here
    return go


def test_a_stream_whose_key_is_not_published_is_held(hato, beyond):
    counts, says = beyond({RSA: "s1._domainkey.m TXT @OTHER@"})
    assert (counts["delivered"], counts["deferred"]) == (2, 2), (counts, says)
    assert "stream news is held: s1._domainkey.m.example.test is not the key in rsa.pem; publish: " in says
    measures = subprocess.run([hato, "queue", "--measures", "--state", beyond.folder / "state"], capture_output=True,
                              text=True, check=True).stdout
    assert "published:dkim" in measures and "suspend, nothing goes: stream news at " in measures, measures
    events = subprocess.run([hato, "events", "--json", "--state", beyond.folder / "state"], capture_output=True, text=True,
                            check=True).stdout.splitlines()
    assert {e["stream"] for e in map(json.loads, events) if e["type"] != "accepted"} == {"plain"}
    # It is remembered: the next run sends nothing of it, before it has asked.
    counts, _ = beyond({})
    assert (counts["delivered"], counts["deferred"]) == (0, 2)


def test_a_receiver_that_comes_later_gets_nothing_of_a_held_stream_either(beyond):
    (beyond.folder / "later.csv").write_text("email\nc@second.other.test\n")
    with (beyond.folder / "init.lua").open("a") as script:
        script.write('hato.campaign "later" { stream = news, to = hato.csv "later.csv", subject = "Hello", text = "Hi.\\n", '
                     'at = os.date("!%Y-%m-%d %H:%M:%S", os.time() + 2) }\n')
    counts, says = beyond({RSA: "s1._domainkey.m TXT @OTHER@"})
    assert (counts["delivered"], counts["deferred"]) == (2, 3), (counts, says)


def test_a_stream_whose_key_is_published_goes(beyond):
    counts, says = beyond({})
    assert (counts["delivered"], counts["deferred"]) == (4, 0), (counts, says)
    assert "held" not in says


def test_no_answer_about_the_key_holds_nobody(beyond):
    change = {record: None for record in ZONES["example.test"] if "_domainkey" in record}
    change["+example.test"] = ["_domainkey.m NS ns.nobody.test."] # a zone of its own whose servers nobody finds
    counts, says = beyond(change)
    assert (counts["delivered"], counts["deferred"]) == (4, 0), (counts, says)
