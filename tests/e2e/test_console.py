"""hato console: it looks at what runs, and nothing that is typed there changes or stops it."""
import json
import pathlib
import select
import socket
import subprocess

import pytest

from test_daemon import campaign, daemon  # noqa: F401 (a fixture)


@pytest.fixture
def running(daemon):  # noqa: F811
    daemon.script('limit = { per_hour = 7, names = { "a", "b" } }\n'
                  'hato.limit { by = { "campaign" }, rate = "3/h" }\n' + campaign("one", "a.csv"))
    daemon.people("a.csv", *[f"p{i}@big.test" for i in range(5)])
    daemon.start()
    daemon.until_delivered(1)
    return daemon


def look(running, text, code=0):
    return running.ask("console", "-e", text, code=code)


def test_it_shows_what_runs(running):
    assert look(running, "1 + 1") == "2\n"
    assert look(running, "status().delivered") == "1\n"
    assert look(running, "queue()[1].campaign, queue()[1].waiting") == "one\n4\n"
    assert "rate 3/h" in look(running, 'why "m3"[1].why')
    assert look(running, "for _, row in ipairs(top()) do print(row.row) end").split() == ["path", "campaign"] or \
        "path" in look(running, "for _, row in ipairs(top()) do print(row.row) end")
    assert look(running, "script.limit.per_hour, #script.limit.names, script.limit.names[2]") == "7\n2\nb\n"
    assert "limit" in look(running, "keys(script)")
    assert look(running, "#measures(), #pauses()").split() == ["0", "0"]


@pytest.mark.parametrize("text", [
    "script.limit.per_hour = 1", "script.x = 1", "hato.send {}", 'require "hato"', 'io.open "/etc/passwd"',
    'os.execute "true"', 'loadstring "return 1"', "setmetatable({}, {})", "debug.sethook()", "getfenv(0)",
    '("x"):gsub("x", "y")', "string.dump(print)", "coroutine.wrap(print)", "collectgarbage()",
    "getmetatable(script).__index", "rawset(script, 'x', 1)", "print.x = 1"])
def test_it_changes_nothing(running, text):
    assert "hato console: " in look(running, text, code=1)
    assert look(running, "script.limit.per_hour, tostring(script.x)") == "7\nnil\n"


def test_others_are_answered_while_something_runs_that_never_ends(running):
    with socket.socket(socket.AF_UNIX) as console, socket.socket(socket.AF_UNIX) as other:
        for s, request in ((console, {"command": "console", "text": "while true do end"}), (other, {"command": "status"})):
            s.settimeout(60)
            s.connect(str(running.state / "control"))
            s.sendall(json.dumps(request).encode() + b"\n")
        assert b"delivered" in other.recv(65536)
        assert not select.select([console], [], [], 0)[0]
        assert b"endless loop" in console.recv(65536)


@pytest.mark.parametrize("text", [
    "while true do end", "while true do pcall(error) end", "pcall(function() while true do end end)",
    "repeat local ok = xpcall(function() while true do end end, function() while true do end end) until false",
    'string.rep("x", 1e9)', "local t = {} while true do t[#t + 1] = string.rep('x', 1000) end",
    "return ('x'):rep(1e7):rep(100)"])
def test_what_never_ends_is_ended_and_delivery_goes_on(running, text):
    running.people("a.csv", *[f"p{i}@big.test" for i in range(5)])
    before = json.loads(look(running, "0") and running.ask("queue", "--json").splitlines()[0])
    typed = subprocess.Popen([running.hato, "console", "--state", running.state, "-e", text],
                             stderr=subprocess.PIPE, text=True)
    running.queue()
    assert "hato console: " in typed.communicate(timeout=60)[1]
    assert typed.returncode == 1
    assert running.program.process.poll() is None
    assert running.queue()[0]["queued"] == before["queued"]


def test_one_expression_at_a_time_and_none_through_a_reload(running):
    with subprocess.Popen([running.hato, "console", "--state", running.state, "-e", "while true do end"],
                          stderr=subprocess.PIPE, text=True) as first:
        running.until(lambda: "another expression runs" in running.ask("console", "-e", "1", code=None))
        running.ask("reload")
        assert "the script was swapped meanwhile; ask again" in first.communicate(timeout=30)[1]
        assert first.returncode == 1
    assert look(running, "script.limit.per_hour") == "7\n"


def test_a_prompt_takes_lines_and_goes_on_after_mistakes(running, hato):
    text = "1 +\n1\nfor i = 1, 2 do\nprint(i)\nend\nnosuch.thing\n'last'\n"
    done = subprocess.run([hato, "console", "--state", running.state], input=text, text=True, capture_output=True,
                          timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:3] == ["2", "1", "2"] and "nosuch" in lines[3] and lines[4] == "last", lines


def test_a_hato_that_does_not_run_is_told(running):
    running.program.stop()
    assert "no hato runs on" in look(running, "1", code=1)
    assert "no hato runs on" in running.ask("console", code=1, stdin=subprocess.DEVNULL)


def test_each_example_of_its_reference_runs(running):
    api = pathlib.Path(__file__).parent.parent.parent / "lua/hato/api.lua"
    listed = subprocess.run(["luajit", "-e", f'for _, f in ipairs(dofile("{api}").console) do print(f.example) end'],
                            capture_output=True, text=True, check=True, timeout=30).stdout.splitlines()
    assert len(listed) >= 9
    for example in listed:
        assert "hato console: " not in look(running, example), example
