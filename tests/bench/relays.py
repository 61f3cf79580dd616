"""relays - mail servers that relay to the sink what smtp-source gives them, each set up as well as we know how.

What is alike for all: loopback, a configuration folder of their own, as many connections in and out as hato has, a
queue on the same disk, no name look-ups, no TLS, as little logging as they can. A peer ends when its bench does.

Postfix 3.7. Its limits on clients, processes and concurrency are out of the way and in_flow_delay is 0. Connections
to the sink are kept and used again without end (connection cache for all destinations), the active queue takes all
mail of a run, so that nothing waits in incoming. Every message is synced to disk by cleanup before its 250: that is
Postfix's promise, and hato's too. Syslog is not there, so logging costs a failed connect at most.

OpenDKIM 2.11 signs as Postfix's Milter over a Unix socket, with threads as it has them; it looks nothing up and logs
nothing. relaxed/relaxed and RSA-2048 as hato.

Haraka 3.1 in cluster mode with a worker for each core. Its own outbound queue delivers: as with the others, what it
takes is synced to disk first. It has no connection cache any more; concurrency is raised, TLS off, log at warnings.
Of its plug-ins run dkim and ten lines of ours, which let loopback relay and name the sink as everybody's host."""
import json
import os
import pathlib
import shutil
import subprocess
import time

import mail
from rig import CORES, ROOT, Failed, Others, Process, end_strays, filesystem, free_port, tree_cpu

DAEMONS = "/usr/lib/postfix/sbin"

MAIN_CF = """compatibility_level = 3.6
queue_directory = {room}/queue
data_directory = {room}/data
command_directory = /usr/sbin
daemon_directory = {daemons}
mail_owner = postfix
setgid_group = postdrop
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = relay.bench.test
mydestination =
mynetworks = 127.0.0.0/8
alias_maps =
local_recipient_maps =
relayhost = [127.0.0.1]:{sink}
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_peername_lookup = no
smtp_dns_support_level = disabled
smtp_host_lookup = native
smtpd_tls_security_level = none
smtp_tls_security_level = none
in_flow_delay = 0
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
smtpd_client_message_rate_limit = 0
smtpd_client_recipient_rate_limit = 0
smtp_destination_concurrency_limit = {connections}
initial_destination_concurrency = {connections}
smtp_connection_cache_destinations = static:all
smtp_connection_reuse_time_limit = 1h
qmgr_message_active_limit = 200000
qmgr_message_recipient_limit = 200000
smtpd_milters = {milters}
"""

# Postfix's own master.cf with the port for smtp, and without what a relay does not use.
MASTER_CF = """127.0.0.1:{port} inet n - n - {processes} smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - {processes} smtp
relay unix - - n - {processes} smtp
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
"""

OPENDKIM_CONF = """Syslog no
UMask 000
Background no
Mode s
Socket local:{room}/opendkim.sock
Domain bench.test
Selector s1
KeyFile {room}/s1.pem
RequireSafeKeys no
Canonicalization relaxed/relaxed
SignatureAlgorithm rsa-sha256
"""

HOP_JS = """exports.hook_connect = (next, connection) => { connection.relaying = true; next(); };
exports.hook_rcpt = (next) => next(OK);
exports.hook_get_mx = (next, hmail, domain) => next(OK, { priority: 0, exchange: '127.0.0.1', port: %d });
"""


def version(package):
    done = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", package], capture_output=True, text=True, check=True)
    return done.stdout


class Postfix:
    """Postfix relaying to the sink; with OpenDKIM as its Milter where sign is set."""

    def __init__(self, rig, sink, sign):
        if os.geteuid():
            raise Failed("Postfix runs as root alone")
        self.room = rig.room("postfix")
        self.port, self.sign = free_port(), sign
        self.conditions = {"peer": f"postfix {version('postfix')}", "peer_sync": "fsync a message",
                           "peer_settings": "see tests/bench/relays.py", "dkim": "rsa-2048" if sign else "none"}
        self.opendkim = None
        conf = self.room / "conf"
        conf.mkdir()
        for name in ("queue", "data"):
            (self.room / name).mkdir()
        shutil.chown(self.room / "data", "postfix")
        milter = f"unix:{self.room}/opendkim.sock" if sign else ""
        (conf / "main.cf").write_text(MAIN_CF.format(room=self.room, daemons=DAEMONS, sink=sink.port, milters=milter,
                                                     connections=mail.CONNECTIONS))
        (conf / "master.cf").write_text(MASTER_CF.format(port=self.port, processes=4 * mail.CONNECTIONS))
        if sign:
            self._start_opendkim()
        # Debian's setup script would fill a chroot, and none is used; what remains of "postfix start" is done here.
        Process(["/usr/sbin/postfix", "-c", conf, "check"], self.room, "postfix-check").done()
        self.master = Process([f"{DAEMONS}/master", "-s", "-c", conf], self.room,
                              env={**os.environ, "MAIL_CONFIG": str(conf)})
        wait_for_port(self.port, self.master)

    def _start_opendkim(self):
        self.conditions["peer"] += f" + opendkim {version('opendkim')}"
        mail.keygen(self.room)
        (self.room / "opendkim.conf").write_text(OPENDKIM_CONF.format(room=self.room))
        self.opendkim = Process(["/usr/sbin/opendkim", "-f", "-x", self.room / "opendkim.conf"], self.room)
        end = time.monotonic() + 10
        while not (self.room / "opendkim.sock").exists():
            if time.monotonic() > end or not self.opendkim.is_running():
                raise Failed(f"opendkim does not come up\n{self.opendkim.says()}")
            time.sleep(0.05)

    def cpu(self):
        """Seconds of CPU until now, of all its processes."""
        return tree_cpu(self.master.pid) + (tree_cpu(self.opendkim.pid) if self.opendkim else 0)

    def stop(self):
        self.master.stop()
        if self.opendkim:
            self.opendkim.stop()
        end_strays()  # master does not wait for its children


class Haraka:
    """Haraka with its DKIM plug-in and its outbound queue."""

    def __init__(self, rig, sink):
        self.room = rig.room("haraka")
        self.port = free_port()
        program = ROOT / "build" / "bench" / "node_modules" / "Haraka"
        version_of = json.loads((program / "package.json").read_text())["version"]
        node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
        self.conditions = {"peer": f"haraka {version_of}",
                           "node": node, "peer_sync": "fsync a message", "peer_settings": "see tests/bench/relays.py",
                           "dkim": "rsa-2048"}
        mail.keygen(self.room)
        shutil.copytree(program / "config", self.room / "config")  # as haraka -i does
        for name, text in {
                "config/plugins": "hop\ndkim\n",
                "config/smtp.ini": f"listen=127.0.0.1:{self.port}\nnodes={CORES}\nspool_after=-1\n",
                "config/outbound.ini": "concurrency_max=1000\nenable_tls=false\nlocal_mx_ok=true\n",
                "config/log.ini": "[main]\nlevel=warn\n",
                "config/me": "relay.bench.test\n",
                "config/dkim.ini": "[sign]\nenabled=true\nselector=s1\ndomain=bench.test\n[verify]\nenabled=false\n",
                "config/dkim/bench.test/selector": "s1\n",
                "config/dkim/bench.test/private": (self.room / "s1.pem").read_text(),
                "plugins/hop.js": HOP_JS % sink.port,
        }.items():
            path = self.room / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (self.room / "queue").mkdir()
        self.process = Process(["node", program / "bin" / "haraka", "-c", self.room], self.room, "haraka",
                               cwd=self.room)
        wait_for_port(self.port, self.process)
        time.sleep(2)  # the port is there before the last worker

    def cpu(self):
        return tree_cpu(self.process.pid)

    def stop(self):
        self.process.stop()
        end_strays()


def wait_for_port(port, process, seconds=30):
    """Until somebody listens there; looked up with the kernel, as a connection would count as one."""
    wanted = f"0100007F:{port:04X} 00000000:0000 0A"
    end = time.monotonic() + seconds
    while wanted not in pathlib.Path("/proc/net/tcp").read_text():
        if time.monotonic() > end or not process.is_running():
            raise Failed(f"{process.name} does not come up\n{process.says()}")
        time.sleep(0.05)


def smtp_source(room, port, n, size=mail.MAIL_BYTES):
    """Postfix's load generator: n messages of size bytes and a few headers, connections kept (-d)."""
    return Process(["/usr/sbin/smtp-source", "-s", mail.CONNECTIONS, "-m", n, "-l", size, "-d", "-M", "bench.test",
                    "-f", "news@bench.test", "-t", "person@bench.test", f"127.0.0.1:{port}"], room)


class Relayed:
    """n messages of a size through a peer to the sink: rate is from the first submission to the last arrival."""

    def __init__(self, rig, peer, n, size=mail.MAIL_BYTES):
        sink = mail.Sink(rig)
        relay = peer(rig, sink)
        others, cpu = Others(), relay.cpu()
        source = smtp_source(relay.room, relay.port, n, size)
        sink.watch(n * size, lambda: not source.is_running())
        source.done()
        cpu, others = relay.cpu() - cpu, others.cores()
        relay.stop()
        sink.stop()
        if sink.messages != n:
            raise Failed(f"of {n} mails {sink.messages} came out of {relay.conditions['peer']}")
        self.seconds = sink.last_at() - source.started
        self.rate = n / self.seconds
        self.cpu_us, self.sink_cpu_us = cpu / n * 1e6, sink.cpu / n * 1e6
        self.conditions = {**relay.conditions, "messages": n, "bytes_a_message": sink.bytes // n, "tls": "none",
                           "connections": mail.CONNECTIONS, "fed_by": "smtp-source, same machine",
                           "receiver": "hato sink --discard, same machine", "filesystem": filesystem(relay.room),
                           "others_cores": others}


class Delivered:
    """The same of hato: from the start of hato run, which reads a CSV of n people, to the last arrival."""

    def __init__(self, rig, room, n):
        sink, others = mail.Sink(rig), Others()
        run = mail.hato_run(room, sink, "--wait", "0")
        sink.watch(0, lambda: not run.is_running())
        others = others.cores()
        mail.delivered(run, n)
        sink.stop()
        if sink.messages != n:
            raise Failed(f"of {n} mails of hato {sink.messages} arrived")
        self.seconds = sink.last_at() - run.started
        self.rate = n / self.seconds
        self.cpu_us, self.sink_cpu_us = run.cpu / n * 1e6, sink.cpu / n * 1e6
        self.conditions = mail.conditions(room, messages=n, bytes_a_message=sink.bytes // n, dkim="rsa-2048",
                                          tls="none", others_cores=others)
