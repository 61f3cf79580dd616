"""The sink's DNS as others see it: dnspython reads its answers, unbound takes it for the authority of its world."""
import os
import socket
import subprocess

import pytest

pytest.importorskip("dns")
import dns.exception  # noqa: E402
import dns.flags  # noqa: E402
import dns.message  # noqa: E402
import dns.query  # noqa: E402
import dns.rcode  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("HATO_BUILD", os.path.join(ROOT, "build"))

WORLD = """
local hosts = {}
for i = 1, 60 do hosts[i] = i .. " host-with-a-long-name-" .. i .. ".big.test" end
return {
  isps = {
    gmail = { domains = { "gmail.test", "cut.test", "plain.test" },
              mx = { "mx1.gmail.test", "20 mx2.gmail.test" }, address = "127.0.1.1" },
    big = { domains = { "big.test" }, mx = hosts, address = "127.0.1.2" },
  },
  dns = { ["a.test"] = "servfail", ["b.test"] = "null_mx", ["plain.test"] = "implicit_mx", ["d.test"] = "loop",
          ["e.test"] = "timeout", ["f.test"] = "refused", ["g.test"] = "nodata", ["cut.test"] = "truncated" },
}
"""
KEY = "v=DKIM1; k=rsa; p=" + "A" * 400


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    world = tmp_path_factory.mktemp("world") / "world.lua"
    world.write_text(WORLD)
    server = subprocess.Popen([os.path.join(BUILD, "dns_serve"), str(world), "s1._domainkey.example.jp", KEY],
                              stdout=subprocess.PIPE, text=True)
    yield int(server.stdout.readline())
    server.terminate()
    assert server.wait(60) == 0


def ask(port, name, kind, how=dns.query.udp, seconds=60, **more):
    return how(dns.message.make_query(name, kind, **more), "127.0.0.1", port=port, timeout=seconds)


def lines(answer):
    return sorted(text for rrset in answer.answer for text in rrset.to_text().split("\n"))


def test_answers_of_each_kind_are_read_by_another_program(port):
    answer = ask(port, "Gmail.test", "MX")
    assert lines(answer) == ["Gmail.test. 300 IN MX 10 mx1.gmail.test.", "Gmail.test. 300 IN MX 20 mx2.gmail.test."]
    assert answer.flags & dns.flags.AA
    assert lines(ask(port, "mx1.gmail.test", "A")) == ["mx1.gmail.test. 300 IN A 127.0.1.1"]
    assert lines(ask(port, "plain.test", "A")) == ["plain.test. 300 IN A 127.0.1.1"]
    assert lines(ask(port, "b.test", "MX")) == ["b.test. 300 IN MX 0 ."]
    assert lines(ask(port, "1.1.0.127.in-addr.arpa", "PTR"))[0].endswith("PTR mx1.gmail.test.")
    texts = ask(port, "s1._domainkey.example.jp", "TXT", use_edns=0, payload=1232).answer[0][0].strings
    assert b"".join(texts).decode() == KEY and len(texts) == 2


def test_faults_have_their_codes(port):
    codes = {name: dns.rcode.to_text(ask(port, name, "MX").rcode())
             for name in ("a.test", "d.test", "f.test", "g.test", "nobody.test")}
    assert codes == {"a.test": "SERVFAIL", "d.test": "NOERROR", "f.test": "REFUSED", "g.test": "NOERROR",
                     "nobody.test": "NXDOMAIN"}
    for name in ("g.test", "nobody.test"):
        assert ask(port, name, "MX").authority[0][0].minimum == 60
    assert [line.split()[3] for line in lines(ask(port, "d.test", "MX"))] == ["CNAME", "CNAME"]
    with pytest.raises(dns.exception.Timeout):
        ask(port, "e.test", "MX", seconds=1)


def test_long_answers_are_truncated_over_udp_and_whole_over_tcp(port):
    for name, count in (("big.test", 60), ("cut.test", 2)):
        short = ask(port, name, "MX", use_edns=0, payload=1232)
        assert short.flags & dns.flags.TC and not short.answer
        whole = ask(port, name, "MX", how=dns.query.tcp)
        assert not whole.flags & dns.flags.TC and len(whole.answer[0]) == count


def test_several_queries_on_one_tcp_connection_are_answered_in_order(port):
    with socket.create_connection(("127.0.0.1", port), timeout=60) as link:
        queries = [dns.message.make_query(n, "MX") for n in ("gmail.test", "big.test", "b.test")]
        data = b"".join(len(q.to_wire()).to_bytes(2, "big") + q.to_wire() for q in queries)
        for i in range(0, len(data), 7):
            link.sendall(data[i:i + 7])
        stream = link.makefile("rb")
        for query in queries:
            answer = dns.message.from_wire(stream.read(int.from_bytes(stream.read(2), "big")))
            assert query.is_response(answer)


def test_garbage_is_not_answered_and_does_no_harm(port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        for seed in range(200):
            udp.sendto(bytes((seed * 31 + i * i) & 255 for i in range(seed)), ("127.0.0.1", port))
    with socket.create_connection(("127.0.0.1", port), timeout=60) as link:
        link.sendall(b"\x00\x05hello\xff\xff" + b"x" * 70000)
    assert len(ask(port, "gmail.test", "MX").answer[0]) == 2
