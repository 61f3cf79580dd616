"""hato classify --mail: returned mails in, one line of JSON each out; what cannot be read is named."""
import json
import os
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HATO = os.path.join(os.environ.get("HATO_BUILD", os.path.join(ROOT, "build")), "hato")
GOLDEN = os.path.join(ROOT, "tests", "golden", "bounces")


def classify(*words):
    return subprocess.run([HATO, "classify", *words], capture_output=True, text=True)


def test_every_mail_gives_one_line_and_no_complaint_or_vacation_is_a_bounce():
    with open(os.path.join(GOLDEN, "cases.jsonl"), encoding="utf-8") as file:
        cases = [json.loads(line) for line in file]
    files = sorted({os.path.join(GOLDEN, case["file"]) for case in cases})
    done = classify("--mail", *files)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["file"] for line in lines] == files
    by_file = {line["file"]: line for line in lines}
    for case in cases:
        got = by_file[os.path.join(GOLDEN, case["file"])]
        assert got["recipients"], case["id"]
        if case["coarse"] == "not_a_bounce":
            assert {one["kind"] for one in got["recipients"]} == {"none"}, case["id"]


def test_a_file_that_cannot_be_read_is_named_and_the_others_go_on(tmp_path):
    good = os.path.join(GOLDEN, "mail", "lhost-postfix-63.eml")
    large = tmp_path / "large.eml"
    with open(large, "wb") as file:
        file.truncate((64 << 20) + 1)
    done = classify("--json", "--mail", str(tmp_path / "none.eml"), str(large), good)
    assert done.returncode == 1
    assert "none.eml" in done.stderr and "large.eml" in done.stderr
    got = json.loads(done.stdout)
    assert got["format"] == "dsn"
    assert got["recipients"][0]["recipient"] == "neko@nyaaan.example.org"
    assert (got["recipients"][0]["class"], got["recipients"][0]["kind"]) == ("mailbox_full", "soft")


def test_mail_and_reply_do_not_go_together():
    done = classify("--mail", "x.eml", "--reply", "550 5.1.1 No such user")
    assert done.returncode == 2
    assert "--mail goes without --reply" in done.stderr
