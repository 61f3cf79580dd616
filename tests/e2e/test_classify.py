"""hato classify: what it makes of replies, for people and for programs, and what it refuses."""
import json
import os
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HATO = os.path.join(os.environ.get("HATO_BUILD", os.path.join(ROOT, "build")), "hato")


def classify(*words, stdin=None):
    return subprocess.run([HATO, "classify", *words], input=stdin, capture_output=True, text=True)


def recipients(done):
    assert done.returncode == 0, done.stderr
    return [json.loads(line)["recipients"][0] for line in done.stdout.splitlines()]


def test_a_reply_is_one_line_of_json():
    done = classify("--reply", "550 5.1.1 <taro@example.jp>: Recipient address rejected: User unknown", "--json")
    assert json.loads(done.stdout) == {"file": None, "format": "text", "recipients": [{
        "recipient": None, "action": "failed", "status": "5.1.1", "code": 550, "class": "no_such_user", "kind": "hard",
        "rule": "shipped:words.user-status"}]}


def test_people_read_the_class_and_the_rule():
    done = classify("--reply", "452 4.2.2 mailbox full\x1b[2J")
    assert done.stdout == "452 4.2.2 mailbox full?[2J\n  mailbox_full (soft), by shipped:words.mailbox-full\n"


def test_the_receiver_and_the_phase_have_a_say():
    reply = "554 5.7.1 <a..b@ezweb.ne.jp>: Relay access denied"
    assert recipients(classify("--reply", reply, "--json"))[0]["class"] == "relaying_denied"
    assert recipients(classify("--reply", reply, "--isp", "au", "--json"))[0]["class"] == "no_such_user"
    at = {phase: recipients(classify("--reply", "552 no", "--phase", phase, "--json"))[0]["class"]
          for phase in ("rcpt", "eod")}
    assert at == {"rcpt": "mailbox_full", "eod": "too_large"}


def test_lines_of_standard_input_come_out_in_their_order():
    replies = ["550 User unknown", "421 4.7.0 too many connections", "550 Ip frequency limited", "250 2.0.0 Ok", "what?"]
    found = recipients(classify("--reply", "-", "--json", stdin="\n".join(replies)))
    assert [(r["class"], r["action"]) for r in found] == [
        ("no_such_user", "failed"), ("too_many_connections", "delayed"), ("rate_limited", "delayed"),
        ("delivered", "delivered"), ("unknown", "delayed")]


def test_published_replies_mean_no_harm_to_a_person_when_their_receiver_is_not_named():
    """What is about the sender must not suppress the recipient, whoever said it."""
    with open(os.path.join(ROOT, "tests/golden/replies/isp-replies.tsv"), encoding="utf-8") as f:
        rows = [line.rstrip("\n").split("\t") for line in f if not line.startswith("#")]
    rows = [r for r in rows if not r[1].startswith("(")]
    found = recipients(classify("--reply", "-", "--json", stdin="\n".join(r[1].replace("…", "x") for r in rows)))
    hard = {r[1] for r, one in zip(rows, found) if one["kind"] == "hard"}
    permanent = {r[1] for r in rows if r[3] == "permanent"}
    # Nobody can know that this one means the sender's domain.
    assert hard - permanent == {"553 <domain> does not exist"}


def test_what_is_wrong_is_named():
    done = classify()
    assert done.returncode == 2
    assert 'needs a reply: hato classify --reply "550 5.1.1 No such user"' in done.stderr
    done = classify("--reply", "550 x", "--phase", "rcp")
    assert done.returncode == 2
    assert done.stderr == 'hato classify: no phase "rcp"; did you mean rcpt?\n'
