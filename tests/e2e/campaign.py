"""A campaign from script to receivers, and the account of it: where every recipient ended, once."""
import collections
import contextlib
import csv
import json
import subprocess

from conftest import PORTS, Program

FINAL = ("delivered", "bounced", "expired")

# One short text to people.csv; %(more)s before, options of the stream in %(stream)s.
PLAIN_SCRIPT = """
%(more)s
local news = hato.stream "news" { from = "News <news@news.test>", %(stream)s }
hato.campaign "hello" { stream = news, to = hato.csv "people.csv", subject = "Hello",
                        text = "Dear reader,\\nthis is a test.\\n" }
"""


def plain_script(more="", stream=""):
    return PLAIN_SCRIPT % {"more": more, "stream": stream}


def log_of(path):
    """The sink's log, of a sink that may be writing its next line."""
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text[:text.rfind("\n") + 1].splitlines()]


def was_doubtful(event):
    """The answer to the final dot never came."""
    return event.get("phase") == "eod" and not event.get("code")


class Outcome:
    """A run that ended: counts (its --json), events, says (its stderr)."""

    def __init__(self, code, prints, says, events):
        assert code == 0, says
        self.counts, self.says, self.events = json.loads(prints), says, events

    def of(self, address):
        return [e for e in self.events if e["recipient"] == address and e["type"] != "accepted"]

    def kinds(self, address):
        return [e["type"] for e in self.of(address)]

    def account(self, addresses, taken):
        """Everybody once. taken: the addresses of messages that receivers took, each as often as it was taken."""
        by_type = collections.Counter()
        ends = {a: [] for a in addresses}
        doubts = collections.Counter()
        for e in self.events:
            by_type[e["type"]] += 1
            if e["type"] in FINAL:
                ends[e["recipient"]].append(e["type"])
            doubts[e["recipient"]] += e["type"] == "ambiguous" or (e["type"] == "expired" and was_doubtful(e))
        assert all(len(end) <= 1 for end in ends.values()), {a: end for a, end in ends.items() if len(end) > 1}
        c = self.counts
        assert c["accepted"] == len(addresses) == len(ends)
        assert c["accepted"] == c["delivered"] + c["bounced"] + c["expired"] + c["deferred"], c
        assert {kind: by_type[kind] for kind in FINAL} == {kind: c[kind] for kind in FINAL}
        took = collections.Counter(taken)
        for address, end in ends.items():
            delivered = end == ["delivered"]
            assert delivered <= took[address] <= delivered + doubts[address], (address, end, took[address])
        assert set(took) <= set(ends)


class Campaign:
    """A folder with a script, people and a state; run() as often as wanted.

    people: {file name: rows}, a row an address or a dict of columns with `email` among them."""

    def __init__(self, hato, folder, people, script):
        self.hato, self.folder, self.addresses = hato, folder, []
        folder.mkdir(exist_ok=True)
        for name, rows in people.items():
            rows = [row if isinstance(row, dict) else {"email": row} for row in rows]
            self.addresses += [row["email"] for row in rows]
            with open(folder / name, "w", newline="", encoding="utf-8") as f:
                out = csv.DictWriter(f, list(rows[0]), lineterminator="\r\n")
                out.writeheader()
                out.writerows(rows)
        (folder / "init.lua").write_text('local hato = require "hato"\n' + script, encoding="utf-8")
        self.state = folder / "state"

    def command(self, port, dns_port, *words):
        return [str(w) for w in (self.hato, "run", self.folder / "init.lua", "--state", self.state, "--smtp-port", port,
                                 "--dns", f"127.0.0.1:{dns_port}", "--json", *words)]

    def told(self, *command):
        """What such a command tells of the state folder: its lines."""
        done = subprocess.run([self.hato, *command, "--json", "--state", self.state], capture_output=True, text=True,
                              check=True, timeout=60)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def events(self):
        """Of all runs so far."""
        return self.told("events")

    def run(self, port, dns_port, *words, seconds=180):
        done = subprocess.run(self.command(port, dns_port, *words), capture_output=True, text=True, timeout=seconds)
        return Outcome(done.returncode, done.stdout, done.stderr, self.events())


@contextlib.contextmanager
def running_sink(hato, folder, listen=()):
    """hato sink for FOLDER/world.lua, with FOLDER/sink.log and what it took in FOLDER/mail. .port, .dns: where.
    listen: at these addresses of the world only."""
    port, dns_port = PORTS.take(), PORTS.take()
    where = ["--listen", *(f"{address}:{port}" for address in listen)] if listen else ["--port", port]
    program = Program([hato, "sink", "--world", folder / "world.lua", *where, "--dns", f"127.0.0.1:{dns_port}",
                       "--store", folder / "mail", "--log", folder / "sink.log"])
    program.port, program.dns = port, dns_port
    try:
        program.wait_for("sink: ready")
        yield program
    finally:
        assert program.stop() == 0, program.output
