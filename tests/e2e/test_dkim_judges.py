"""Our DKIM signatures in the eyes of others: dkimpy and OpenDKIM verify messages of many shapes, and refuse them
once something that is covered has changed."""
import os
import random
import re
import shutil
import subprocess
import time

import pytest

dkim = pytest.importorskip("dkim")

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("HATO_BUILD", os.path.join(ROOT, "build"))
DOMAIN = "news.example.jp"


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """Keys made by hato keygen; {selector: (file, record)}."""
    folder = tmp_path_factory.mktemp("keys")
    made = {}
    for selector, more in (("r1", []), ("e1", ["--ed25519"])):
        path = folder / (selector + ".pem")
        done = subprocess.run([os.path.join(BUILD, "hato"), "keygen", DOMAIN, selector, "--out", str(path), *more],
                              check=True, capture_output=True, text=True)
        name, _, _, text = done.stdout.strip().split(" ", 3)
        assert name == f"{selector}._domainkey.{DOMAIN}."
        assert path.stat().st_mode & 0o777 == 0o600
        strings = re.findall(r'"([^"]*)"', text)
        assert all(len(s) <= 255 for s in strings)
        made[selector] = (path, "".join(strings))
    return made


def sign(keys, message, selectors=("r1", "e1"), when=None):
    command = [os.path.join(BUILD, "dkim_gen"), DOMAIN, str(when or int(time.time()) - 5)]
    for selector in selectors:
        command += [selector, str(keys[selector][0])]
    return subprocess.run(command, input=message, check=True, capture_output=True).stdout


def verdicts(keys, signed):
    """What dkimpy says to each signature."""
    records = {f"{s}._domainkey.{DOMAIN}.".encode(): record.encode() for s, (_, record) in keys.items()}
    judge = dkim.DKIM(signed)
    count = len(re.findall(rb"^DKIM-Signature:", signed, re.M))
    return [_verify(judge, i, records) for i in range(count)]


def _verify(judge, index, records):
    try:
        return judge.verify(idx=index, dnsfunc=lambda name, timeout=5: records.get(name))
    except dkim.DKIMException:
        return False


def messages(seed, count):
    """Headers and bodies that a signer may stumble over."""
    rng = random.Random(seed)
    values = ["x", "a  b", "a\tb", " lead", "trail  ", "folded\r\n here", "folded\r\n\t \there", "", "\r\n late",
              "=?UTF-8?B?44GT44KT?=\r\n =?UTF-8?B?44Gr44Gh?=", "a:b;c", "日本語"]
    optional = ["To", "Cc", "Subject", "Date", "Message-ID", "Reply-To", "MIME-Version", "Content-Type",
                "content-transfer-encoding", "List-Id", "List-Unsubscribe", "LIST-UNSUBSCRIBE-POST", "Feedback-ID",
                "X-Other", "Received", "Comments"]
    lines = ["", "text", "two  spaces", "tab\there", "trail ", "trail\t \t", " lead", ".", "..dots", "x" * 990,
             "日本語の本文", " ", "\t", "--b", "a = b  =  c", "soft=20break="]
    for _ in range(count):
        fields = [("From", "News <news@" + DOMAIN + ">")]
        for name in rng.sample(optional, rng.randint(0, len(optional))):
            fields.append((name, rng.choice(values)))
        if rng.random() < 0.3:
            fields.append(("Subject", "again"))  # a second one: the lowest is taken first
        rng.shuffle(fields)
        header = "".join(f"{n}:{rng.choice(['', ' ', '  '])}{v}\r\n" for n, v in fields)
        body = "".join(rng.choice(lines) + "\r\n" for _ in range(rng.choice([0, 1, 2, 5, 40])))
        body += "\r\n" * rng.choice([0, 0, 1, 3])
        yield (header + "\r\n" + body).encode()


def test_dkimpy_accepts_every_shape_of_message(keys):
    for message in messages(1, 120):
        signed = sign(keys, message)
        assert signed.endswith(message)
        assert verdicts(keys, signed) == [True, True], signed.decode(errors="replace")


def test_a_typical_message_and_every_change_to_it(keys):
    message = (f"From: News <news@{DOMAIN}>\r\nTo: a@example.org\r\nSubject: one\r\nDate: Sat, 1 Aug 2026 10:00:00 +0900"
               f"\r\nMessage-ID: <1@{DOMAIN}>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\nList-Id: <l>\r\n"
               "X-Free: not covered\r\n\r\nHello.\r\n\r\nBye.\r\n").encode()
    signed = sign(keys, message)
    assert verdicts(keys, signed) == [True, True]
    harmless = [(b"Subject: one", b"subject: \t one "), (b"Bye.\r\n", b"Bye.  \r\n\r\n"),
                (b"X-Free: not covered", b"X-Free: changed")]
    for old, new in harmless:
        assert verdicts(keys, signed.replace(old, new)) == [True, True], new
    harmful = [(b"Hello", b"Hallo"), (b"Subject: one", b"Subject: two"), (b"List-Id: <l>", b"List-Id: <m>"),
               (b"\r\n\r\nHello", b"\r\n\r\n\r\nHello"), (b"Bye.\r\n", b"Bye.\r\nmore\r\n"),
               (b"\r\nX-Free", b"\r\nSubject: added\r\nX-Free"), (b"\r\nX-Free", b"\r\nReply-To: thief@example.net\r\nX-Free"),
               (b"\r\nX-Free", b"\r\nCc: more@example.net\r\nX-Free"), (b"\r\nX-Free", b"\r\nContent-Type: text/html\r\nX-Free"),
               (b"\r\nX-Free", b"\r\nFrom: thief@example.net\r\nX-Free")]
    for old, new in harmful:
        assert old in signed
        assert verdicts(keys, signed.replace(old, new)) == [False, False], new


@pytest.mark.skipif(not shutil.which("opendkim"), reason="needs the package opendkim")
def test_opendkim_accepts_and_refuses_alike(keys, tmp_path):
    records = tmp_path / "records"
    records.write_text("".join(f"{s}._domainkey.{DOMAIN} {record}\n" for s, (_, record) in keys.items()))
    conf = tmp_path / "conf"
    conf.write_text(f"Mode v\nTestDNSData file:{records}\nOn-BadSignature reject\nOn-NoSignature reject\n")

    def accepted(signed):
        path = tmp_path / "message.eml"
        path.write_bytes(signed)
        done = subprocess.run(["opendkim", "-x", str(conf), "-t", str(path), "-v", "-v"], capture_output=True, text=True)
        words = done.stdout + done.stderr
        assert "verification (s=" in words, words
        return "succeeded" in words and "failed" not in words

    for message in messages(2, 25):
        for selectors in (("r1",), ("e1",)):
            signed = sign(keys, message, selectors)
            assert accepted(signed), signed.decode(errors="replace")
            assert not accepted(signed.replace(b"\r\n\r\n", b"\r\n\r\nmore\r\n", 1))
