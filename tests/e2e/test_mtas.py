"""Delivery to receivers that others wrote: Postfix's smtp-sink with its faults, a real Postfix, a real Exim that
verifies DKIM before it takes a mail."""
import contextlib
import os
import pathlib
import pwd
import re
import shutil
import signal
import smtplib
import socket
import subprocess
import tempfile
import time

import pytest

from campaign import Campaign, plain_script, running_sink
from conftest import PATIENCE_S, PORTS, ROOT, Program

COUNT = 200
RETRY = 'hato.bounces { retry = { "1 s", "2 s", give_up = "12 s" } }\n'
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


def until(true, what, seconds=PATIENCE_S, program=None):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"{what}\n{program.output if program else ''}"
        time.sleep(0.05)


def accepts(address, port):
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
    everybody = [address for some in people.values() for address in some]
    campaign = Campaign(hato, tmp_path, {"people.csv": everybody}, plain_script(RETRY))
    with running_sink(hato, tmp_path, listen=["127.0.36.250"]) as sink, contextlib.ExitStack() as stack:
        for name, (options, _, _) in SINKS.items():
            (shared / name).mkdir()
            (shared / name).chmod(0o777)
            user = ["-u", "nobody"] if os.getuid() == 0 else []
            where = f"{hosts[name]}:{sink.port}"
            program = Program(["smtp-sink", *user, *options, "-d", shared / name / "m.", where, "100"],
                              env={**os.environ, "PATH": SBIN})
            stack.callback(program.stop)
        for address in hosts.values():
            until(lambda: accepts(address, sink.port), address)
        outcome = campaign.run(sink.port, sink.dns, "--wait", "3 s")
    # It also keeps what it refused at the final dot.
    taken = {name: [] if options[-1:] == ["."] else
             [re.search(r"^X-Rcpt-Args: <(.*?)>", mail.read_text(), re.M)[1] for mail in (shared / name).iterdir()]
             for name, (options, _, _) in SINKS.items()}
    outcome.account(campaign.addresses, [to for some in taken.values() for to in some])
    for name, (_, _, expected) in SINKS.items():
        expected(name, {a: outcome.of(a) for a in people[name]}, taken[name])


# --- whole MTAs ---


SIGNED = """
hato.bounces { retry = { "1 s", "2 s", give_up = "1 min" } }
local news = hato.stream "news" {
  from = "夏祭り通信 <news@m.news.test>", bounce = "b.m.news.test",
  dkim = { { domain = "m.news.test", selector = "r1", key = "r1.pem" },
           { domain = "m.news.test", selector = "e1", key = "e1.pem" } },
}
hato.campaign "hello" { stream = news, to = hato.csv "people.csv", subject = "{{ name }}様、夏のセール",
                        text = "{{ name }}様\\n.\\n..\\nFrom here\\n", html = "<p>{{ name }}様</p>",
                        attach = { "flyer.pdf" } }
"""


def signed_campaign(hato, folder, domain):
    """A campaign of COUNT signed mails; and the DNS records of its keys, as zone file lines."""
    people = [{"email": f"p{i}@{domain}", "name": f"山田{i}"} for i in range(COUNT)]
    campaign = Campaign(hato, folder, {"people.csv": people}, SIGNED)
    (folder / "flyer.pdf").write_bytes(bytes(range(256)) * 100)
    records = [subprocess.run([hato, "keygen", "m.news.test", selector, "--out", folder / f"{selector}.pem", *more],
                              check=True, capture_output=True, text=True).stdout
               for selector, more in (("r1", []), ("e1", ["--ed25519"]))]
    return campaign, records


def stop_as_root(program, pid):
    """SIGTERM to a server that may be another user's, by its id."""
    subprocess.run([*AS_ROOT, "kill", str(pid)], check=True)
    program.process.wait(PATIENCE_S)
    program.reader.join(5)
    program.process.stdout.close()


POSTFIX_MAIN = """
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = mx.postfix.test
mydestination =
mynetworks =
inet_interfaces = loopback-only
inet_protocols = ipv4
alias_maps =
maillog_file = /dev/stdout
smtpd_forbid_bare_newline = yes
smtpd_recipient_restrictions = reject_non_fqdn_sender, reject_non_fqdn_recipient, reject_unauth_destination
smtpd_data_restrictions = reject_unauth_pipelining
smtpd_tls_security_level = may
smtpd_tls_chain_files = {folder}/key.pem, {folder}/cert.pem
virtual_mailbox_domains = postfix.test
virtual_mailbox_base = {folder}/mail
virtual_mailbox_maps = static:inbox/
virtual_minimum_uid = 1
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
"""
POSTFIX_MASTER = """
{address}:{port} inet n - n - - smtpd
pickup    unix  n - n 60 1 pickup
cleanup   unix  n - n - 0 cleanup
qmgr      unix  n - n 300 1 qmgr
rewrite   unix  - - n - - trivial-rewrite
bounce    unix  - - n - 0 bounce
defer     unix  - - n - 0 bounce
trace     unix  - - n - 0 bounce
verify    unix  - - n - 1 verify
proxymap  unix  - - n - - proxymap
error     unix  - - n - - error
virtual   unix  - n n - - virtual
anvil     unix  - - n - 1 anvil
tlsmgr    unix  - - n 1000? 1 tlsmgr
scache    unix  - - n - 1 scache
postlog   unix-dgram n - n - 1 postlogd
"""


def test_a_real_postfix(hato, tmp_path, shared):
    address, user = "127.0.36.101", pwd.getpwnam("postfix")
    campaign, _ = signed_campaign(hato, tmp_path, "postfix.test")
    (tmp_path / "world.lua").write_text(world_of({"postfix": address}))
    config = shared / "etc"
    for name in ("etc", "queue", "data", "mail"):
        (shared / name).mkdir()
    shutil.copy(CERT, shared / "cert.pem")
    shutil.copy(KEY, shared / "key.pem")
    with running_sink(hato, tmp_path, listen=["127.0.36.250"]) as sink:
        (config / "main.cf").write_text(POSTFIX_MAIN.format(folder=shared, uid=user.pw_uid, gid=user.pw_gid))
        (config / "master.cf").write_text(POSTFIX_MASTER.format(address=address, port=sink.port))
        for name in ("data", "mail"):
            subprocess.run([*AS_ROOT, "chown", "-R", "postfix", shared / name], check=True)
        subprocess.run([*AS_ROOT, "chown", "-R", "root", shared / "etc", shared / "queue"], check=True)
        program = Program([*AS_ROOT, "/usr/sbin/postfix", "-c", config, "start-fg"])
        try:
            until(lambda: accepts(address, sink.port), "Postfix listens")
            outcome = campaign.run(sink.port, sink.dns, "--wait", "5 s")
            mails = shared / "mail" / "inbox" / "new"
            until(lambda: len(listed(mails)) >= COUNT, "all mails are in the mailbox")
        finally:
            master = shared / "queue" / "pid" / "master.pid"
            until(lambda: listed(master), program.output)
            stop_as_root(program, content(master).strip())
        read = [content(mails / name) for name in listed(mails)]
    taken = [re.search(r"^X-Original-To: (.*)$", mail, re.M)[1] for mail in read]
    outcome.account(campaign.addresses, taken)
    assert outcome.counts["delivered"] == COUNT and outcome.counts["ambiguous"] == 0, outcome.counts
    ends = [e for e in outcome.events if e["type"] == "delivered"]
    assert all(e["tls"]["version"] == "TLSv1.3" for e in ends), "over TLS, and resumed where a session went before"
    # Our own look whether it listens is the one connection without EHLO.
    said = re.findall(r"smtpd\[\d+\]: ((?:warning|fatal|improper|NOQUEUE|lost).*?)(?: from .*)?$", program.output, re.M)
    assert set(said) <= {"lost connection after CONNECT"}, said
    ends = re.findall(r"smtpd\[\d+\]: disconnect from \S+ (ehlo=.*)", program.output)
    assert ends and all(" quit=1 " in end for end in ends), ends


def content(path):
    """Of a file that may be another user's."""
    return subprocess.run([*AS_ROOT, "cat", path], check=True, capture_output=True, text=True).stdout


def listed(folder):
    """Names in a folder that may be another user's; none when it is not there."""
    done = subprocess.run([*AS_ROOT, "ls", folder], capture_output=True, text=True)
    return done.stdout.split()


EXIM = """
primary_hostname = mx.exim.test
exim_path = {exim}
spool_directory = {folder}/spool
log_file_path = {folder}/log/%slog
pid_file_path = {folder}/spool/pid
daemon_smtp_ports = {port}
local_interfaces = {address}
keep_environment = LD_PRELOAD : OWN_DNS_PORT
tls_advertise_hosts = *
tls_certificate = {folder}/cert.pem
tls_privatekey = {folder}/key.pem
chunking_advertise_hosts = *
smtputf8_advertise_hosts = *
deliver_drop_privilege = true
queue_only = true
smtp_accept_max = 100
log_selector = +received_recipients +dkim_verbose
dkim_verify_signers = $dkim_signers
acl_smtp_rcpt = acl_rcpt
acl_smtp_dkim = acl_dkim
acl_smtp_data = acl_data
begin acl
acl_rcpt:
  accept domains = exim.test
  deny
acl_dkim:
  deny message = 5.7.20 signature $dkim_cur_signer: $dkim_verify_status $dkim_verify_reason
       !dkim_status = pass
  accept set acl_m_good = yes
acl_data:
  deny message = 5.7.20 no signature
       !condition = ${{if eq{{$acl_m_good}}{{yes}}}}
  accept
"""


def zone_of(records):
    """As unbound's configuration."""
    lines = []
    for record in records:
        name, _, kind, text = record.strip().split(" ", 3)
        lines.append(f"  local-data: '{name} {kind} {text}'")
    return "\n".join(lines)


@contextlib.contextmanager
def key_server(folder, port, records):
    """unbound with these TXT records and nothing else."""
    (folder / "unbound.conf").write_text(
        f"server:\n  interface: 127.0.0.1@{port}\n  directory: \"{folder}\"\n  chroot: \"\"\n  username: \"\"\n"
        f"  pidfile: \"{folder}/unbound.pid\"\n  use-syslog: no\n  do-daemonize: no\n  module-config: \"iterator\"\n"
        f"  num-threads: 1\n  local-zone: \".\" static\n{zone_of(records)}\nremote-control:\n  control-enable: no\n")
    program = Program(["unbound", "-d", "-c", folder / "unbound.conf"], env={**os.environ, "PATH": SBIN})
    try:
        until(lambda: accepts("127.0.0.1", port), program.output)
        yield program
    finally:
        program.stop(signal.SIGTERM)


def test_a_real_exim_that_verifies_dkim(hato, tmp_path, shared):
    address, exim = "127.0.36.102", ROOT / "build" / "exim" / "usr" / "sbin" / "exim4"
    assert exim.exists(), "scripts/setup --tests unpacks it"
    campaign, records = signed_campaign(hato, tmp_path, "exim.test")
    (tmp_path / "world.lua").write_text(world_of({"exim": address}))
    preload = shared / "own_dns.so"
    source = ROOT / "tests" / "e2e" / "own_dns.c"
    subprocess.run(["gcc", "-D_GNU_SOURCE", "-shared", "-fPIC", "-o", preload, source], check=True)
    shutil.copy(CERT, shared / "cert.pem")
    shutil.copy(KEY, shared / "key.pem")
    for name in ("spool", "log"):
        (shared / name).mkdir()
    dns_port = PORTS.take()
    with running_sink(hato, tmp_path, listen=["127.0.36.250"]) as sink, key_server(tmp_path, dns_port, records):
        (shared / "exim.conf").write_text(EXIM.format(exim=exim, folder=shared, port=sink.port, address=address))
        own = [shared / name for name in ("spool", "log", "key.pem")]
        subprocess.run([*AS_ROOT, "chown", "-R", "Debian-exim", *own], check=True)
        subprocess.run([*AS_ROOT, "chown", "root", shared / "exim.conf"], check=True)
        program = Program([*AS_ROOT, "env", f"LD_PRELOAD={preload}", f"OWN_DNS_PORT={dns_port}", exim, "-C",
                           shared / "exim.conf", "-bdf"])
        try:
            until(lambda: accepts(address, sink.port), "Exim listens")
            outcome = campaign.run(sink.port, sink.dns, "--wait", "5 s")
            with smtplib.SMTP(address, sink.port, timeout=60) as client:
                with pytest.raises(smtplib.SMTPDataError) as refused:
                    client.sendmail("news@m.news.test", ["p0@exim.test"], "From: news@m.news.test\r\n\r\nunsigned\r\n")
            assert refused.value.smtp_code == 550, "this Exim does judge"
        finally:
            stop_as_root(program, content(shared / "spool" / "pid").strip())
    log = "".join(content(shared / "log" / name) for name in listed(shared / "log"))
    taken = re.findall(r" <= .* for (p\d+@exim\.test)$", log, re.M)
    outcome.account(campaign.addresses, taken)
    assert outcome.counts["delivered"] == COUNT, (outcome.counts, outcome.says, log[-3000:])
    assert len(re.findall(r"DKIM: d=m\.news\.test s=r1 .*verification succeeded", log)) == COUNT
    assert len(re.findall(r"DKIM: d=m\.news\.test s=e1 .*verification succeeded", log)) == COUNT
    assert len(re.findall(r" <= .* X=TLS1\.3", log)) == COUNT
