"""hato serve and what people do with it while it runs: queue, reload, stop; each against receivers of a world."""
import contextlib
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import time
import urllib.error
import urllib.request

import pytest

from campaign import log_of, running_sink
from conftest import PATIENCE_S, Program
from held import held_sink

WORLD = """
return { isps = {
  big = { domains = { "big.test" }, mx = { "mx.big.test" }, address = "127.0.51.1",
          replies = { { phase = "rcpt", to = "^busy", reply = "450 4.2.0 come back later" },
                      { phase = "rcpt", to = "^none", reply = "550 5.1.1 no such user" } } },
  slow = { domains = { "slow.test" }, mx = { "mx.slow.test" }, address = "127.0.51.2", delay = "300 ms" },
  held = { domains = { "held.test" }, mx = { "mx.held.test" }, address = "127.0.51.4" },
  shut = { domains = { "shut.test" }, mx = { "mx.shut.test" }, address = "127.0.51.3",
           replies = { { phase = "banner", reply = "554 5.7.1 we do not know you" } } },
} }
"""
HELD = "127.0.51.4"    # the sink does not play it

HEAD = """local hato = require "hato"
local news = hato.stream "news" { from = "News <news@news.test>" }
"""


def campaign(name, people, text="Dear reader,\\nwelcome.\\n", more=""):
    return (f'hato.campaign "{name}" {{ stream = news, to = hato.csv "{people}", subject = "Hello", '
            f'text = "{text}", {more} }}\n')


class Daemon:
    """A folder with a script, its people, and a hato serve on it."""

    def __init__(self, hato, folder, sink):
        self.hato, self.folder, self.sink, self.state = hato, folder, sink, folder / "state"
        self.program = None

    def script(self, text, head=HEAD):
        (self.folder / "init.lua").write_text(head + text)

    def people(self, name, *addresses):
        (self.folder / name).write_text("email\n" + "".join(f"{a}\n" for a in addresses))

    def command(self, *words):
        return [str(w) for w in (self.hato, "serve", self.folder / "init.lua", "--state", self.state, "--smtp-port",
                                 self.sink.port, "--dns", f"127.0.0.1:{self.sink.dns}", *words)]

    def start(self, *words, **options):
        self.program = Program(self.command(*words), **options).wait_for("ready state=")
        return self

    def ask(self, *words, code=0, **options):
        """A command on this state folder: its output (errors too). code None: any."""
        done = subprocess.run([self.hato, words[0], "--state", self.state, *map(str, words[1:])], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE_S, check=False, **options)
        assert code in (done.returncode, None), (words, done.returncode, done.stdout)
        return done.stdout

    def queue(self):
        lines = [json.loads(line) for line in self.ask("queue", "--json").splitlines()]
        return lines[0], lines[1:]

    def events(self, *types):
        events = [json.loads(line) for line in self.ask("events", "--json").splitlines()]
        return [e for e in events if not types or e["type"] in types]

    def until(self, true, seconds=PATIENCE_S):
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, self.program.output + "\n" + self.ask("queue")
            time.sleep(0.05)

    def until_delivered(self, n, seconds=PATIENCE_S):
        self.until(lambda: len(self.events("delivered")) >= n, seconds)
        assert len(self.events("delivered")) == n

    def accounted(self, *addresses):
        """Everybody has one end at most, and nobody was sent to twice."""
        ends = [e["recipient"] for e in self.events("delivered", "bounced", "expired", "cancelled")]
        assert sorted(ends) == sorted(addresses)
        took = [r for t in log_of(self.folder / "sink.log") if t.get("file") for r in t["to"]]
        assert len(took) == len(set(took)), took


@pytest.fixture
def daemon(hato, tmp_path, request):
    """A test may bring its world as its parameter, a file as WORLD."""
    world = getattr(request, "param", getattr(request.module, "WORLD", WORLD))
    (tmp_path / "world.lua").write_text(world)
    with held_sink(hato, tmp_path, HELD) if HELD in world else running_sink(hato, tmp_path) as sink:
        d = Daemon(hato, tmp_path, sink)
        try:
            yield d
        finally:
            if d.program:
                d.program.stop(signal.SIGKILL)


@pytest.fixture
def held(daemon):
    return daemon.sink.held


def test_serve_delivers_goes_on_waiting_and_ends_on_sigterm(daemon):
    daemon.script(campaign("one", "a.csv") + campaign("two", "b.csv"))
    daemon.people("a.csv", "a@big.test", "none@big.test")
    daemon.people("b.csv", "b@big.test")
    daemon.start()
    daemon.until_delivered(2)
    totals, _ = daemon.queue()
    assert totals["queued"] == 0
    assert daemon.program.process.poll() is None
    assert daemon.program.stop() == 0, daemon.program.output
    assert not (daemon.state / "control").exists()
    daemon.accounted("a@big.test", "none@big.test", "b@big.test")


def test_the_control_socket_is_for_its_owner_and_a_dead_ones_is_replaced(daemon):
    daemon.script("")
    daemon.start()
    mode = (daemon.state / "control").stat().st_mode
    assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600
    if os.geteuid() == 0:
        with socket.socket(socket.AF_UNIX) as s:  # root may: it could read the files too
            s.connect(str(daemon.state / "control"))
    daemon.program.stop(signal.SIGKILL)
    assert (daemon.state / "control").exists()
    totals, _ = daemon.queue()  # the folder at rest, in spite of the stale name
    assert totals["queued"] == 0
    daemon.start()
    assert "connections" in daemon.queue()[0]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_another_user_is_turned_away_even_where_the_file_lets_them_in(daemon):
    daemon.script("")
    daemon.start()
    path = daemon.state / "control"
    folder = daemon.state
    while folder != folder.parent:
        with contextlib.suppress(PermissionError):
            folder.chmod(folder.stat().st_mode | 0o055)
        folder = folder.parent
        if str(folder) == "/tmp":
            break
    path.chmod(0o666)
    code = ("import socket\ns = socket.socket(socket.AF_UNIX)\ns.settimeout(60)\n"
            f"s.connect({str(path)!r})\n"
            "try:\n    s.sendall(b'{\"command\":\"status\"}\\n')\n    print(s.recv(10))\n"
            "except OSError:\n    print(b'')\n")
    done = subprocess.run(["/usr/bin/python3", "-c", code], user=65534, group=65534, capture_output=True, text=True,
                          timeout=60, check=False)
    assert done.stdout.strip() == "b''", done
    assert "connections" in daemon.queue()[0]


def test_a_second_process_is_told_who_the_first_is(daemon):
    daemon.script("")
    daemon.start()
    second = subprocess.run(daemon.command(), capture_output=True, text=True, timeout=60, check=False)
    assert second.returncode == 1
    assert str(daemon.program.process.pid) in second.stderr
    assert "connections" in daemon.queue()[0]  # the first one's socket is as it was


def test_queue_says_who_waits_where_and_for_what(daemon):
    daemon.script(campaign("now", "a.csv") + campaign("later", "b.csv", more='at = "2099-01-01 10:00"'))
    daemon.people("a.csv", "busy@big.test", "a@shut.test", "b@shut.test")
    daemon.people("b.csv", "b@big.test")
    daemon.start()
    daemon.until(lambda: daemon.queue()[0]["deferred"] == 1 and "by source refused" in daemon.ask("queue"))
    totals, rows = daemon.queue()
    assert (totals["queued"], totals["waiting"], totals["deferred"]) == (4, 3, 1)
    by = {(r["isp"], r["campaign"]): r for r in rows}
    shut = by["mx.shut.test", "now"]
    assert shut["waiting"] == 2 and "554 5.7.1 we do not know you" in shut["why"] and shut["until"]
    assert by["mx.big.test", "now"]["deferred"] == 1
    later = next(r for r in rows if r["campaign"] == "later")
    assert later["waiting"] == 1 and later["until"] == "2099-01-01T10:00:00.000Z"
    measures = [json.loads(line) for line in daemon.ask("queue", "--measures", "--json").splitlines()]
    assert [(m["measure"], m["isp"], m["source"]) for m in measures] == [("suspend", "mx.shut.test", "default")]
    until = f"; until {measures[0]['until'][:19].replace('T', ' ')}"
    said = daemon.ask("queue", "--measures")
    assert "source default at mx.shut.test: " in said and said.endswith(until + "; 2 wait\n"), said
    lines = daemon.ask("queue").splitlines()
    assert next(line for line in lines if " later " in line).endswith("; until 2099-01-01 10:00:00"), lines
    # The same from the folder at rest.
    daemon.program.stop(signal.SIGKILL)
    totals, rows = daemon.queue()
    assert (totals["queued"], totals["waiting"], totals["deferred"]) == (4, 3, 1)
    measures = [json.loads(line) for line in daemon.ask("queue", "--measures", "--json").splitlines()]
    assert [(m["measure"], m["isp"], m["source"]) for m in measures] == [("suspend", "mx.shut.test", "default")]
    assert "hato does not run on this folder" in daemon.ask("queue")


def test_queue_is_painted_anew_until_it_is_interrupted(daemon):
    daemon.script(campaign("one", "a.csv", more='at = "2099-01-01"'))
    daemon.people("a.csv", "a@big.test", "b@big.test")
    daemon.start()
    daemon.until(lambda: daemon.queue()[0]["queued"] == 2)
    with subprocess.Popen([daemon.hato, "queue", "--watch", "--state", daemon.state], stdout=subprocess.PIPE) as watch:
        page = os.read(watch.stdout.fileno(), 65536)
        assert page.startswith(b"\x1b[H\x1b[2J2 queued: "), page
        daemon.ask("cancel", "id=m1", "--yes")
        end = time.monotonic() + PATIENCE_S
        while b"\x1b[H\x1b[2J1 queued: " not in page:
            assert time.monotonic() < end, page
            page += os.read(watch.stdout.fileno(), 65536)
        watch.send_signal(signal.SIGINT)
        assert watch.wait(PATIENCE_S) == -signal.SIGINT


def test_reload_takes_in_what_is_new_and_keeps_what_waits(daemon):
    daemon.script(campaign("one", "a.csv"))
    daemon.people("a.csv", "a@big.test", "busy@big.test")
    daemon.start()
    daemon.until_delivered(1)
    daemon.script(campaign("one", "a.csv") + campaign("two", "b.csv"))
    daemon.people("b.csv", "b@big.test")
    assert daemon.ask("reload") == "reloaded\n"
    daemon.until_delivered(2)
    assert daemon.queue()[0]["queued"] == 1
    daemon.people("b.csv", "b@big.test", "c@big.test")
    daemon.program.process.send_signal(signal.SIGHUP)
    daemon.until_delivered(3)
    assert daemon.program.stop() == 0, daemon.program.output
    daemon.accounted("a@big.test", "b@big.test", "c@big.test")


@pytest.mark.parametrize("broken, says", [
    ("local x = = 1\n", "init.lua:3:"),
    ('error("no such luck")\n', "init.lua:3: no such luck"),
    ('hato.campaign "one" { streem = news }\n', "did you mean"),
    (campaign("one", "a.csv", text="Another text.\\n"), "is not what it was"),
])
def test_reload_of_a_script_that_fails_changes_nothing_and_says_why(daemon, broken, says):
    daemon.script(campaign("one", "a.csv"))
    daemon.people("a.csv", "a@big.test", "busy@big.test")
    daemon.start()
    daemon.until_delivered(1)
    before = daemon.queue()
    daemon.script(broken)
    assert says in daemon.ask("reload", code=2)
    after = daemon.queue()
    assert after[0]["queued"] == before[0]["queued"] == 1
    daemon.until(lambda: "nothing was changed" in daemon.program.output)
    # It still goes by the old script.
    daemon.script(campaign("one", "a.csv") + campaign("two", "b.csv"))
    daemon.people("b.csv", "b@big.test")
    daemon.ask("reload")
    daemon.until_delivered(2)


def test_reload_content_lets_one_campaign_say_something_else(daemon):
    daemon.script(campaign("one", "a.csv", text="The old text.\\n") + campaign("two", "b.csv"))
    daemon.people("a.csv", "a@big.test")
    daemon.people("b.csv")
    daemon.start()
    daemon.until_delivered(1)
    daemon.script(campaign("one", "a.csv", text="The new text.\\n") + campaign("two", "b.csv"))
    daemon.people("a.csv", "a@big.test", "b@big.test")
    assert "is not what it was" in daemon.ask("reload", code=2)
    assert "no such campaign" in daemon.ask("reload", "--content", "three", code=2)
    daemon.ask("reload", "--content", "one")
    daemon.until_delivered(2)
    mails = {log["to"][0]: (daemon.folder / "mail" / os.path.basename(log["file"])).read_text()
             for log in log_of(daemon.folder / "sink.log") if log.get("file")}
    assert "The old text." in mails["a@big.test"] and "The new text." in mails["b@big.test"]
    # It is remembered: the next start takes it as it is now.
    assert daemon.program.stop() == 0
    daemon.start()
    assert daemon.program.stop() == 0, daemon.program.output


def test_reload_does_not_send_while_the_script_may_still_be_refused(daemon):
    daemon.script("")
    daemon.start()
    daemon.script("""
local id, why = hato.send { stream = news, to = "a@big.test", subject = "x", text = "x" }
assert(not id and why:find "not in its place", why)
""")
    daemon.ask("reload")
    assert daemon.events() == []


def reload_begins(daemon):
    return subprocess.Popen([daemon.hato, "reload", "--state", daemon.state], stderr=subprocess.PIPE, text=True)


def test_reload_lets_the_open_transaction_end(daemon, held):
    daemon.script(campaign("one", "a.csv"))
    daemon.people("a.csv", "a@held.test")
    daemon.start()
    held.holds()
    with reload_begins(daemon) as asker:
        daemon.program.wait_for("room=reload open transactions finish in_flight=1")
        time.sleep(2.5)    # longer than sessions without one get to say goodbye
        held.let_go()
        assert asker.communicate(timeout=PATIENCE_S)[1] == "" and asker.returncode == 0
    assert [e["type"] for e in daemon.events("delivered", "deferred", "ambiguous")] == ["delivered"]
    assert held.took == ["a@held.test"]


def test_a_transaction_that_does_not_end_within_a_minute_keeps_the_old_script(daemon, held):
    daemon.script(campaign("one", "a.csv"))
    daemon.people("a.csv", "a@held.test", "busy@big.test")
    daemon.start()
    held.holds()
    daemon.until(lambda: daemon.queue()[0]["deferred"] == 1)
    daemon.script(campaign("one", "a.csv") + campaign("two", "a.csv"))
    with reload_begins(daemon) as asker:
        assert "1 open transaction did not end within a minute; try again" in asker.communicate(timeout=60 + PATIENCE_S)[1]
        assert asker.returncode == 1
    assert 'there is no campaign "two"' in daemon.ask("pause", "campaign=two", code=1)
    daemon.ask("retry", "campaign=one")    # what goes on goes on by the old one
    daemon.until(lambda: len(daemon.events("deferred")) == 2)


def test_reload_needs_a_daemon(daemon):
    daemon.script("")
    daemon.start()
    daemon.program.stop()
    assert "no hato runs on" in daemon.ask("reload", code=1)


def test_sigterm_lets_the_open_transaction_end(daemon, held):
    people = [f"p{i}@held.test" for i in range(5)]
    daemon.script(campaign("one", "a.csv"), head=HEAD + 'hato.isp "held" { mx = "held.test", connections = 1 }\n')
    daemon.people("a.csv", *people)
    daemon.start("--drain", "1 h")
    held.holds()
    daemon.program.process.send_signal(signal.SIGTERM)
    daemon.program.wait_for("open transactions finish")
    held.let_go()
    assert daemon.program.process.wait(PATIENCE_S) == 0, daemon.program.output
    assert not daemon.events("ambiguous")
    assert [e["recipient"] for e in daemon.events("delivered")] == held.took and len(held.took) == 1
    daemon.start()
    daemon.until_delivered(5)
    assert sorted(held.took) == people
    daemon.accounted(*people)


def test_mail_leaves_from_the_address_of_its_source_and_under_its_name(daemon, held):
    daemon.script(campaign("one", "a.csv"), head="""local hato = require "hato"
hato.source "mx1" { address = "127.0.0.7", ehlo = "mx1.news.test" }
hato.source "mx2" { address = "127.0.0.8", ehlo = "mx2.news.test" }
hato.pool "second" { "mx2" }
local news = hato.stream "news" { from = "News <news@news.test>", pool = "second" }
""")
    daemon.people("a.csv", "a@held.test")
    daemon.start()
    held.holds()
    assert held.came == [("127.0.0.8", "mx2.news.test")]


@pytest.mark.parametrize("drain, signals", [("1 s", 1), ("1 h", 2)])
def test_a_transaction_that_does_not_end_is_not_waited_for(daemon, held, drain, signals):
    """Not beyond the deadline, and not at all by who asks twice."""
    daemon.script(campaign("one", "a.csv"))
    daemon.people("a.csv", "a@held.test")
    daemon.start("--drain", drain)
    held.holds()
    began = time.monotonic()
    for _ in range(signals - 1):
        daemon.program.process.send_signal(signal.SIGTERM)
        daemon.program.wait_for("open transactions finish")
    assert daemon.program.stop() == 0
    assert signals == 2 or time.monotonic() - began > 0.9
    assert "stopped queued=1 in_flight=1" in daemon.program.output
    assert daemon.queue()[0]["queued"] == 1


def test_one_reload_at_a_time_and_none_while_it_stops(daemon, held):
    daemon.script(campaign("one", "a.csv"))
    daemon.people("a.csv", "a@held.test")
    daemon.start("--drain", "1 s")
    held.holds()
    with subprocess.Popen([daemon.hato, "reload", "--state", daemon.state], stderr=subprocess.PIPE, text=True) as first:
        daemon.program.wait_for("room=reload open transactions finish in_flight=1")
        assert "the script is being swapped already" in daemon.ask("reload", code=1)
        assert daemon.program.stop() == 0
        assert "hato is stopping" in first.communicate(timeout=PATIENCE_S)[1] and first.returncode == 1
    assert "nothing was changed: hato is stopping" in daemon.program.output


def test_a_script_that_is_still_read_when_hato_stops_is_forgotten(daemon, held):
    daemon.script(campaign("one", "a.csv"))
    daemon.people("a.csv", "a@held.test")
    daemon.start()
    held.holds()
    daemon.script('hato.sleep "1 s"\n' + campaign("one", "a.csv"))
    with reload_begins(daemon) as asker:
        time.sleep(0.3)
        daemon.program.process.send_signal(signal.SIGTERM)
        assert "hato is stopping" in asker.communicate(timeout=PATIENCE_S)[1] and asker.returncode == 1
    time.sleep(1.5)    # it would be read now
    held.let_go()
    assert daemon.program.process.wait(PATIENCE_S) == 0    # and does not begin again with what was read
    assert "the script was swapped" not in daemon.program.output
    assert held.took == ["a@held.test"]


def test_kill_in_the_middle_loses_nobody(daemon):
    people = [f"p{i}@big.test" for i in range(300)]
    daemon.script(campaign("one", "a.csv"))
    daemon.people("a.csv", *people)
    daemon.start()
    daemon.until(lambda: daemon.events("delivered"))
    daemon.program.stop(signal.SIGKILL)
    daemon.start()
    daemon.until(lambda: daemon.queue()[0]["queued"] == 0)
    assert sorted({e["recipient"] for e in daemon.events("delivered")}) == sorted(people)


def test_systemd_is_told_that_it_is_ready_lives_and_stops(daemon):
    name = str(daemon.folder / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(name)
        manager.settimeout(60)
        daemon.script("")
        daemon.start(env={**os.environ, "NOTIFY_SOCKET": name, "WATCHDOG_USEC": "400000"})
        said = []
        while "READY=1" not in said or said.count("WATCHDOG=1") < 3:    # it lives, and goes on to say so
            said += manager.recv(4096).decode().splitlines()
        for script, code in (("", 0), ("nonsense", 2)):    # swapped or not, it begins with RELOADING and ends with READY
            before = time.monotonic_ns() // 1000
            daemon.script(script)
            daemon.ask("reload", code=code)
            told = []
            while "READY=1" not in told:
                told += manager.recv(4096).decode().splitlines()
            told = [word for word in told if word != "WATCHDOG=1"]
            assert told[0] == "RELOADING=1" and told[2] == "READY=1"
            assert before - 1000 <= int(told[1].partition("MONOTONIC_USEC=")[2]) <= time.monotonic_ns() // 1000
        daemon.program.process.send_signal(signal.SIGTERM)
        while "STOPPING=1" not in said:
            said += manager.recv(4096).decode().splitlines()
    assert daemon.program.stop() == 0
    assert "stopped queued=0 in_flight=0" in daemon.program.output


def test_run_has_a_control_socket_too(daemon):
    daemon.script(campaign("one", "a.csv"))
    daemon.people("a.csv", "busy@big.test")
    command = daemon.command("--wait", "forever")
    command[1] = "run"
    daemon.program = Program(command)
    daemon.until((daemon.state / "control").exists)
    daemon.until(lambda: daemon.queue()[0].get("connections") is not None and daemon.queue()[0]["deferred"] == 1)
    assert "hato serve" in daemon.ask("reload", code=1)
    assert daemon.program.stop() == 0


def test_prometheus_is_answered_on_loopback_alone(daemon, free_port):
    port = free_port()
    daemon.script(campaign("one", "a.csv"))
    daemon.people("a.csv", "a@big.test", "busy@big.test", "a@shut.test")
    daemon.start("--metrics", f"127.0.0.1:{port}")
    daemon.until(lambda: daemon.events("delivered") and daemon.events("deferred") and "suspend" in
                 daemon.ask("queue", "--measures"))
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        page = answer.read().decode()
    values = dict(line.rsplit(" ", 1) for line in page.splitlines() if not line.startswith("#"))
    assert values['hato_events_total{type="delivered"}'] == "1"
    assert values['hato_messages{state="deferred"}'] == "1"
    assert values['hato_measures{measure="suspend"}'] == "1" and values["hato_journal_broken"] == "0"
    assert all(line.startswith(("# HELP hato_", "# TYPE hato_", "hato_")) for line in page.splitlines())
    with pytest.raises(urllib.error.HTTPError) as no:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60)
    assert no.value.code == 404
    with pytest.raises(urllib.error.HTTPError) as no:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", data=b"x", timeout=60)
    assert no.value.code == 405
    with socket.create_connection(("127.0.0.1", port), timeout=60) as s:  # one that says nothing holds up nobody
        daemon.ask("reload")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
            assert b'type="delivered"} 1' in answer.read()
        s.sendall(b"\0\xff" * 40000)
    assert daemon.program.stop() == 0
    for where, code, says in (("0.0.0.0:9", 2, "loopback"), ("x", 2, "wants ADDRESS:PORT"),
                              (f"127.0.0.1:{daemon.sink.dns}", None, None)):
        if says:
            done = subprocess.run(daemon.command("--metrics", where), capture_output=True, text=True, timeout=60,
                                  check=False)
            assert done.returncode == code and says in done.stderr, done


def test_install_puts_the_program_and_its_unit_in_place(hato, tmp_path):
    build = os.path.dirname(os.path.realpath(hato))
    if not os.path.exists(os.path.join(build, "cmake_install.cmake")):
        pytest.skip("the program was not built by this tree's CMake")
    subprocess.run(["cmake", "--install", build, "--prefix", tmp_path / "usr"], check=True, capture_output=True,
                   timeout=60)
    assert os.access(tmp_path / "usr/bin/hato", os.X_OK)
    unit = (tmp_path / "usr/lib/systemd/system/hato.service").read_text()
    assert "Type=notify" in unit and "@" not in unit
    start = next(line for line in unit.splitlines() if line.startswith("ExecStart=")).split()
    program = str(tmp_path / "usr/bin/hato")
    assert start[:3] == [f"ExecStart={program}", "serve", "/etc/hato/init.lua"]
    assert f"\nExecReload={program} reload --state /var/lib/hato\n" in unit
    verify = shutil.which("systemd-analyze")
    if verify:
        said = subprocess.run([verify, "verify", tmp_path / "usr/lib/systemd/system/hato.service"], capture_output=True,
                              text=True, timeout=60, check=False)
        assert "hato.service" not in said.stdout + said.stderr, said    # of this machine's other units it may complain
    help_text = subprocess.run([hato, "serve", "--help"], capture_output=True, text=True, check=True, timeout=60).stdout
    assert all(word in help_text for word in start if word.startswith("--"))
