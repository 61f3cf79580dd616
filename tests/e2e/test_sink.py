"""hato sink, as Python's smtplib and plain sockets see it."""
import json
import re
import resource
import smtplib
import socket
import ssl
import subprocess

import dns.exception
import dns.message
import dns.query
import dns.rcode
import pytest


@pytest.fixture
def sink(hato, start):
    """A function: start a sink with these options; .port is where it listens."""
    def begin(*words):
        program = start([hato, "sink", *words]).wait_for("sink: ready")
        found = re.search(r"listening on .*:(\d+)$|port (\d+)$", program.output, re.M)
        program.port = int(found.group(1) or found.group(2))
        return program
    return begin


def log_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def send(port, to="c@d.test", body="Subject: x\r\n\r\nhello\r\n", host="127.0.0.1", sender="a@b.test"):
    with smtplib.SMTP(host, port, timeout=60) as s:
        s.sendmail(sender, [to] if isinstance(to, str) else to, body)


def test_messages_are_kept_byte_for_byte(sink, tmp_path):
    bodies = [
        b"Subject: dots\r\n\r\n.\r\n..two\r\nend.\r\n.last\r\n",
        "Subject: =?utf-8?B?5aSP?=\r\n\r\n夏祭り\r\n".encode(),
        b"Subject: long\r\n\r\n" + b"x" * 200000 + b"\r\n",
        b"Subject: empty\r\n\r\n",
        b"Subject: many lines\r\n\r\n" + b".\r\nab\r\n" * 20000,
    ]
    s = sink("--listen", "127.0.0.1:0", "--store", tmp_path / "mail", "--log", tmp_path / "log")
    for body in bodies:
        send(s.port, body=body)
    entries = log_of(tmp_path / "log")
    assert [(tmp_path / "mail" / e["file"]).read_bytes() for e in entries] == bodies
    assert [e["size"] for e in entries] == [len(b) for b in bodies]
    assert sorted(p.name for p in (tmp_path / "mail").iterdir()) == [f"{n:08}.eml" for n in range(1, 6)]
    assert s.stop() == 0
    assert f"5 connections, 5 transactions, 5 messages taken, {sum(map(len, bodies))} bytes" in s.output


def test_a_second_run_goes_on_counting_in_the_same_store(sink, tmp_path):
    for _ in range(2):
        s = sink("--listen", "127.0.0.1:0", "--store", tmp_path / "mail", "--log", tmp_path / "log")
        send(s.port)
        s.stop()
    assert [e["file"] for e in log_of(tmp_path / "log")] == ["00000001.eml", "00000002.eml"]


def test_the_log_tells_each_transaction(sink, tmp_path):
    s = sink("--listen", "127.0.0.1:0", "--log", tmp_path / "log")
    send(s.port, to=["c@d.test", '"two words"@d.test'])
    (entry,) = log_of(tmp_path / "log")
    assert entry["from"] == "a@b.test"
    assert entry["to"] == ["c@d.test", '"two words"@d.test'] and entry["to_codes"] == [250, 250]
    assert entry["codes"] == {"banner": 220, "ehlo": 250, "mail": 250, "rcpt": 250, "data": 354, "eod": 250}
    assert entry["taken"] is True and entry["tls"] is None and entry["file"] is None
    assert entry["peer"].startswith("127.0.0.1:") and entry["local"] == f"127.0.0.1:{s.port}"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", entry["time"])


@pytest.mark.parametrize("own", [False, True])
def test_starttls(sink, tmp_path, root, own):
    golden = root / "tests" / "golden" / "tls"
    words = ["--cert", golden / "cert.pem", "--key", golden / "key.pem"] if own else []
    s = sink("--listen", "127.0.0.1:0", "--log", tmp_path / "log", *words)
    context = ssl.create_default_context(cafile=golden / "cert.pem")
    if not own:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with smtplib.SMTP("127.0.0.1", s.port, timeout=60) as client:
        client._host = "mx.example.test"    # the name that the certificate is checked for
        client.starttls(context=context)
        client.sendmail("a@b.test", "c@d.test", "Subject: x\r\n\r\nhello\r\n")
    (entry,) = log_of(tmp_path / "log")
    assert entry["tls"]["version"] == "TLSv1.3" and entry["codes"]["starttls"] == 220


def test_commands_behind_starttls_in_one_packet_are_not_heard(sink, tmp_path):
    s = sink("--listen", "127.0.0.1:0", "--log", tmp_path / "log")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", s.port), timeout=60) as plain:
        assert plain.recv(1000).startswith(b"220 ")
        plain.sendall(b"EHLO c.test\r\n")
        assert b"STARTTLS" in plain.recv(1000)
        plain.sendall(b"STARTTLS\r\nEHLO mallory.test\r\nMAIL FROM:<mallory@b.test>\r\n")
        assert plain.recv(1000) == b"220 2.0.0 go ahead\r\n"
        with context.wrap_socket(plain) as tls:
            tls.sendall(b"RCPT TO:<c@d.test>\r\nQUIT\r\n")
            heard = b""
            while chunk := tls.recv(1000):
                heard += chunk
    assert heard == b"503 5.5.1 MAIL first\r\n221 2.0.0 bye\r\n"
    assert log_of(tmp_path / "log") == []


WORLD = """
return {
  isps = {
    strict = { domains = { "strict.test" }, mx = { "mx.strict.test" }, address = "127.0.21.1",
               extensions = { "PIPELINING", "SIZE 1000" }, connections = 2, per_connection = 2,
               accept = "3/h", over = "421 4.7.28 slow down\\nplease",
               replies = { { phase = "rcpt", to = "^nobody@", reply = "550 5.1.1 no such user" },
                           { phase = "rcpt", to = "^cut@", disconnect = true } } },
    easy   = { domains = { "easy.test" }, mx = { "mx.easy.test" }, address = { "127.0.21.2" } },
  },
  dns = { ["broken.test"] = "servfail", ["none.test"] = "null_mx" },
}
"""


@pytest.fixture
def world(tmp_path):
    (tmp_path / "world.lua").write_text(WORLD)
    return tmp_path / "world.lua"


def test_each_isp_of_a_world_has_its_own_manners(sink, world, tmp_path, free_port):
    s = sink("--world", world, "--port", free_port(), "--log", tmp_path / "log")
    with smtplib.SMTP("127.0.21.1", s.port, timeout=60) as strict:
        assert strict.ehlo()[1].decode().splitlines() == ["mx.strict.test", "PIPELINING", "SIZE 1000", "HELP"]
        with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
            strict.sendmail("a@b.test", "nobody@strict.test", "x\r\n")
        assert refused.value.recipients == {"nobody@strict.test": (550, b"5.1.1 no such user")}
        with pytest.raises(smtplib.SMTPSenderRefused) as too_big:
            strict.sendmail("a@b.test", "a@strict.test", "x" * 2000 + "\r\n")
        assert too_big.value.smtp_code == 552
        strict.sendmail("a@b.test", "a@strict.test", "x\r\n")
        strict.sendmail("a@b.test", "a@strict.test", "x\r\n")
        with pytest.raises(smtplib.SMTPSenderRefused) as enough:
            strict.sendmail("a@b.test", "a@strict.test", "x\r\n")
        assert enough.value.smtp_code == 421
    send(s.port, host="127.0.21.1", to="a@strict.test", body="x\r\n")
    with pytest.raises(smtplib.SMTPSenderRefused) as over:
        send(s.port, host="127.0.21.1", to="a@strict.test", body="x\r\n")
    assert over.value.smtp_error == b"4.7.28 slow down\nplease"
    for _ in range(10):
        send(s.port, host="127.0.21.2", to="a@easy.test", body="y" * 5000 + "\r\n")
    taken = [e["isp"] for e in log_of(tmp_path / "log") if e["taken"]]
    assert taken == ["strict"] * 3 + ["easy"] * 10


def test_a_world_cuts_the_line_where_it_says(sink, world, tmp_path, free_port):
    s = sink("--world", world, "--port", free_port(), "--log", tmp_path / "log")
    with pytest.raises(smtplib.SMTPServerDisconnected):
        send(s.port, host="127.0.21.1", to="cut@strict.test", body="x\r\n")
    (entry,) = log_of(tmp_path / "log")
    assert entry["taken"] is False and "data" not in entry["codes"]


def test_more_connections_than_a_source_may_have_get_a_421(sink, world, free_port):
    s = sink("--world", world, "--port", free_port())
    held = [socket.create_connection(("127.0.21.1", s.port), timeout=60) for _ in range(3)]
    banners = [c.recv(1000)[:4] for c in held]
    assert banners == [b"220 ", b"220 ", b"421 "]
    for c in held:
        c.close()


def ask(port, name, kind):
    question = dns.message.make_query(name, kind)
    return dns.query.udp(question, "127.0.0.1", port=port, timeout=60)


def test_dns_answers_for_the_world(sink, world, free_port):
    port = free_port()
    sink("--world", world, "--port", free_port(), "--dns", f"127.0.0.1:{port}")
    assert [r.to_text() for r in ask(port, "strict.test", "MX").answer[0]] == ["10 mx.strict.test."]
    assert [r.to_text() for r in ask(port, "mx.easy.test", "A").answer[0]] == ["127.0.21.2"]
    assert ask(port, "broken.test", "MX").rcode() == dns.rcode.SERVFAIL
    assert [r.to_text() for r in ask(port, "none.test", "MX").answer[0]] == ["0 ."]
    assert ask(port, "nowhere.example", "MX").rcode() == dns.rcode.NXDOMAIN


def test_without_a_world_every_name_is_the_sink(sink, free_port):
    port = free_port()
    sink("--listen", "127.0.21.9:0", "--dns", f"127.0.0.1:{port}")
    (mx,) = ask(port, "anything.example", "MX").answer[0]
    assert [r.to_text() for r in ask(port, mx.exchange, "A").answer[0]] == ["127.0.21.9"]


def test_two_thousand_connections_are_served_at_once(sink):
    wanted = 2000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted + 200:
        pytest.skip(f"only {hard} descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted + 200), hard))
    s = sink("--listen", "127.0.0.1:0")
    held = [socket.create_connection(("127.0.0.1", s.port), timeout=60) for _ in range(wanted)]
    assert all(c.recv(1000).startswith(b"220 ") for c in held)
    for c in held:
        c.sendall(b"EHLO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n")
    for c in held:
        heard = b""
        while b"354 " not in heard:
            heard += c.recv(1000)
        c.sendall(b"x\r\n.\r\nQUIT\r\n")
    for c in held:
        heard = b""
        while chunk := c.recv(1000):
            heard += chunk
        assert heard == b"250 2.0.0 taken\r\n221 2.0.0 bye\r\n"
        c.close()
    assert s.stop() == 0
    assert f"{wanted} connections, {wanted} transactions, {wanted} messages taken" in s.output


def test_sigterm_ends_open_sessions_and_logs_what_they_had_begun(sink, tmp_path):
    s = sink("--listen", "127.0.0.1:0", "--log", tmp_path / "log")
    with smtplib.SMTP("127.0.0.1", s.port, timeout=60) as client:
        client.ehlo()
        client.mail("a@b.test")
        client.rcpt("c@d.test")
        assert s.stop() == 0
        with pytest.raises((smtplib.SMTPServerDisconnected, ConnectionError)):
            client.docmd("NOOP")
    (entry,) = log_of(tmp_path / "log")
    assert entry["taken"] is False and entry["to"] == ["c@d.test"]


def test_what_cannot_start_says_why(hato, tmp_path, world):
    (tmp_path / "file").write_text("not a folder")
    (tmp_path / "bad.lua").write_text('return { isps = { a = { domains = "a.test", address = "127.0.0.1", '
                                      'greylst = "5 min" } } }')
    (tmp_path / "key.pem").write_text("no key")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        at = f"127.0.0.1:{taken.getsockname()[1]}"
        rows = [
            ([], 2, "needs --listen ADDR:PORT or --world FILE"),
            (["--listen", "127.0.0.1"], 2, '--listen wants ADDRESS:PORT, such as 127.0.0.1:2525, not "127.0.0.1"'),
            (["--lisen", "127.0.0.1:0"], 2, "unknown option --lisen; did you mean --listen?"),
            (["--listen", "127.0.0.1:0", "--discard", "--store", "x"], 2, "--store and --discard exclude each other"),
            (["--listen", "127.0.0.1:0", "--cert", "x"], 2, "--cert and --key belong together"),
            (["--world", "bad.lua"], 2, 'bad.lua: isps.a: unknown option "greylst"; did you mean "greylist"?'),
            (["--world", "none.lua"], 2, "none.lua"),
            (["--listen", at], 1, f"listen on {at}: address already in use"),
            (["--listen", "127.0.0.1:0", "--store", "file"], 1, "file"),
            (["--listen", "127.0.0.1:0", "--cert", "file", "--key", "key.pem"], 1, "file, key.pem: certificate: "),
            (["--world", world, "--listen", "127.0.0.9:0"], 1, "no ISP of this world has the address 127.0.0.9"),
        ]
        for words, code, says in rows:
            done = subprocess.run([hato, "sink", *words], cwd=tmp_path, capture_output=True, text=True, timeout=60)
            assert done.returncode == code, (words, done.stderr)
            assert says in done.stderr and done.stderr.startswith("hato sink: "), (words, done.stderr)
            assert "ready" not in done.stdout
