"""mail - the sink that takes everything, the mail that hato sends there, and hato run over both."""
import json
import re
import time

from rig import HATO, Failed, Process, cpu_of, filesystem, free_port, io_of

CONNECTIONS = 20  # of hato, of a peer, of smtp-source: all alike
MAIL_BYTES = 10240  # on the wire; the message of smtp-source has so many, and ours comes out near it


class Sink:
    """hato sink --discard on loopback, DNS beside it.

    What it has read is known at any time without asking it: its reads are all from sockets, and the kernel counts
    them. How many messages that was it says at its end."""

    def __init__(self, rig, name="sink", world=None, log=None):
        self.room = rig.room(name)
        self.port = free_port()
        command = [HATO, "sink", "--dns", f"127.0.0.2:{self.port}", "--discard", *(["--log", log] if log else [])]
        if world:
            path = self.room / "world.lua"
            path.write_text(world)
            command += ["--world", path, "--port", self.port]
        else:
            command += ["--listen", f"127.0.0.1:{self.port}"]
        self.process = Process(command, self.room).wait_for("sink: ready")
        self.base = io_of(self.process.pid, "rchar")
        self.cpu_base = cpu_of(self.process.pid)
        self.messages = self.bytes = self.cpu = None
        self.curve = []  # (time.monotonic(), bytes read until then)

    def bytes_read(self):
        return io_of(self.process.pid, "rchar") - self.base

    def watch(self, expected, is_over, quiet_s=20, every=0.02):
        """Note what comes in, until `expected` bytes are here, is_over() and a second without more; or until nothing
        has come for quiet_s. The curve then says what had come when."""
        last = time.monotonic()
        while True:
            now, seen = time.monotonic(), self.bytes_read()
            if not self.curve or seen != self.curve[-1][1]:
                self.curve.append((now, seen))
                last = now
            over = is_over()
            if (over and seen >= expected and now - last > 1) or (now - last > quiet_s and (over or seen > 0)):
                return
            time.sleep(every)

    def first_at(self):
        """When the first message was all here."""
        return self._at(self._each())

    def last_at(self):
        """When the last message was: what follows it is QUIT, which is less than half a message."""
        return self._at(self.curve[-1][1] - self._each() / 2)

    def rate(self, begin, end):
        """Messages a second between two times."""
        def seen(when):
            return max((size for at, size in self.curve if at <= when), default=0)
        return (seen(end) - seen(begin)) / self._each() / (end - begin)

    def _each(self):
        return self.curve[-1][1] / self.messages

    def _at(self, size):
        return next(when for when, seen in self.curve if seen >= size)

    def stop(self):
        """Ends it; messages, bytes (theirs) and cpu (without its start) are known from here on."""
        self.cpu = cpu_of(self.process.pid) - self.cpu_base
        self.process.stop()
        said = re.search(r"(\d+) messages taken, (\d+) bytes", self.process.words())
        if not said:
            raise Failed(f"the sink ended without its count\n{self.process.says()}")
        self.messages, self.bytes = int(said[1]), int(said[2])
        return self


# A world in which one host receives for all domains, as a large provider's does.
ONE_HOST = """return { isps = { bench = { domains = { "mx.bench.test" }, every_domain = true, mx = { "mx.bench.test" },
  address = "127.0.0.1", extensions = { "PIPELINING", "CHUNKING", "SIZE 35882577", "8BITMIME" } } } }
"""

# --- the mail: one table of a text and of an HTML part, three values in both, three more in the subject and links ---

TEXT = """Dear {{ name }},

this is the newsletter for {{ city }}. You have {{ points }} points, and they are good until the end of next month.

""" + "".join(f"{i}. A line of news about as long as lines are in letters that people write.\n"
              for i in range(1, 36)) + """
Yours, the editors
"""

HTML = """<html><body><h1>Dear {{ name }},</h1>
<p>this is the newsletter for {{ city }}. You have <b>{{ points }}</b> points.</p>
<table>
""" + "".join(f'<tr><td class="n">{i}</td>'
              f'<td><a href="https://bench.test/{i}?p={{{{ points }}}}">A line of news</a></td></tr>\n'
              for i in range(1, 56)) + """</table>
<p>Yours, the editors</p></body></html>
"""


def people(path, n, domains=1):
    """A CSV of n people over so many domains, in turn."""
    names = ["bench.test"] if domains == 1 else [f"d{i}.bench.test" for i in range(domains)]
    with open(path, "w", encoding="ascii") as out:
        out.write("email,name,city,points\n")
        for start in range(0, n, 10000):
            out.write("".join(f"person{i}@{names[i % domains]},Person {i},City {i % 97},{i % 10007}\n"
                              for i in range(start, min(start + 10000, n))))


def keygen(room, domain="bench.test", algorithm="rsa"):
    words = [HATO, "keygen", domain, "s1", "--out", room / "s1.pem"]
    Process(words + (["--ed25519"] if algorithm == "ed25519" else []), room, "keygen").done()


def script(room, *, head="", stream="", campaign="", tls="none", connections=CONNECTIONS, per_connection=100000):
    """The newsletter's script. What is added: Lua before the stream, members of the stream and of the campaign."""
    (room / "body.txt").write_text(TEXT)
    (room / "body.html").write_text(HTML)
    path = room / "init.lua"
    path.write_text(f"""local hato = require "hato"
hato.source "local" {{ address = "127.0.0.1", ehlo = "bench.test" }}
hato.isp "bench" {{ domains = "bench.test", connections = {connections}, per_connection = {per_connection} }}
{head}
local news = hato.stream "news" {{
  from = "Bench <news@bench.test>", tls = "{tls}",
  dkim = {{ {{ domain = "bench.test", selector = "s1", key = "s1.pem" }} }},
  bounce = "b.bench.test", unsubscribe = {{ url = "https://bench.test/u/{{{{ token }}}}", one_click = true }},
  {stream}
}}
hato.campaign "bench" {{
  stream = news, to = hato.csv "people.csv", subject = "{{{{ name }}}}, your news from {{{{ city }}}}",
  text = hato.file "body.txt", html = hato.file "body.html",
  {campaign}
}}
""")
    return path


def hato_run(room, sink, *words, json=True):
    """hato run over the script in this folder, not waited for. Without a sink it must have nothing to send."""
    to = ["--dns", f"127.0.0.2:{sink.port}", "--smtp-port", sink.port] if sink else []
    return Process([HATO, "run", room / "init.lua", "--state", room / "state", "--yes", *to,
                    *(["--json"] if json else []), *words], room)


def totals(run):
    """The last line of a run."""
    return json.loads(run.done().words().splitlines()[-1])


def delivered(run, n):
    """Wait for a run that must have delivered n."""
    got = totals(run)
    if got["delivered"] != n:
        raise Failed(f"of {n} mails {got['delivered']} were delivered\n{run.says()}")
    return run


def conditions(room, **more):
    """What every figure of a delivery is said with."""
    return {"connections": CONNECTIONS, "sync": "fdatasync", "filesystem": filesystem(room),
            "receiver": "hato sink --discard, same machine", **more}
