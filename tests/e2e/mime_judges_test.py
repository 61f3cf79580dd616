"""Foreign readers get back exactly what went in: mails built by mime_gen from generated texts in many scripts, read
by Python's email package and by GMime, without a defect or a warning.

HATO_BUILD is the build folder (default: build). HATO_MIME_CASES and HATO_MIME_SEED vary the run.
"""
import email
import email.header
import email.policy
import os
import random
import re
import subprocess

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("HATO_BUILD", os.path.join(ROOT, "build"))
CASES = int(os.environ.get("HATO_MIME_CASES", "1000"))
SEED = int(os.environ.get("HATO_MIME_SEED", "20260701"))


def span(first, last):
    return [chr(c) for c in range(first, last + 1)]


ALPHABETS = {
    "japanese": span(0x3041, 0x3093) + span(0x30A1, 0x30F6) + list("日本語夏祭通信東京都渋谷区髙﨑①㈱〜、。「」々ー　"),
    "halfwidth": span(0xFF66, 0xFF9D) + list("ﾞﾟ"),
    "rare kanji": list("𠮷𡈽𩸽𠀋葛󠄀辻󠄁"),
    "chinese": span(0x4E00, 0x4E80) + list("，。！？"),
    "korean": span(0xAC00, 0xAC80) + [" "],
    "arabic": span(0x0621, 0x064A) + [" ", "\u064b", "\u0651"],
    "emoji": ["😀", "🎉", "👨‍👩‍👧‍👦", "👍🏽", "🇯🇵", "❤️", "1️⃣", "🏳️‍🌈"],
    "combining": ["か\u3099", "は\u309a", "e\u0301", "n\u0303", "Z\u0351\u036b"],
    "latin": list("abcdefghij ABCDEFGHIJ éüñøß ç"),
    "ascii": list("abcdefghijklmnopqrstuvwxyz    0123456789"),
    "hostile": list("=?_.,;:<>()[]\"\\@'%*&/ -") + ["=?UTF-8?B?", "?=", "=_", "--"],
}


def words(rng, most):
    """One line in one script or in several mixed."""
    names = [rng.choice(list(ALPHABETS))] if rng.random() < 0.6 else list(ALPHABETS)
    out = []
    for _ in range(rng.randint(1, most)):
        out.append(rng.choice(ALPHABETS[rng.choice(names)]))
    return "".join(out)


def one_line(rng, most, max_bytes=None):
    while True:
        s = words(rng, most).strip(" ")
        if s.strip() and (max_bytes is None or len(s.encode()) <= max_bytes):
            return s


def person(rng):
    """A display name. Python makes one blank of several in it, whatever their encoding."""
    return re.sub(" +", " ", one_line(rng, 40, max_bytes=320))


def paragraph(rng):
    lines = []
    for _ in range(rng.randint(1, 12)):
        kind = rng.random()
        if kind < 0.1:
            lines.append("")
        elif kind < 0.2:
            lines.append(rng.choice([".", "..", ".dot", "--=_1.0", "From here", "trailing ", "tab\t", " ", "=20"]))
        else:
            lines.append(words(rng, rng.choice([10, 60, 400])))
    return rng.choice(["\n", "\r\n", "\r"]).join(lines) + rng.choice(["", "\n"])


def make_case(rng, number):
    case = {
        "from": "news@m.example.jp",
        "from_name": rng.choice(["", person(rng)]),
        "to": rng.choice(["taro@example.com", "a..b@docomo.ne.jp", "a.@ezweb.ne.jp", '"a b"@example.com']),
        "to_name": rng.choice(["", person(rng)]),
        "subject": one_line(rng, rng.choice([5, 20, 60, 300])),
        "extra": one_line(rng, 80),
        "message_id": "%d.%x@m.example.jp" % (number, rng.getrandbits(64)),
        "date": str(rng.randint(0, 4102444800)),
        "offset": str(rng.choice([0, 540, -300, 330, 765, -210])),
        "seed": str(rng.getrandbits(64)),
    }
    if rng.random() < 0.8:
        case["text"] = paragraph(rng) + "x"
    if rng.random() < 0.7 or "text" not in case:
        case["html"] = "<html><body class='x'>" + paragraph(rng) + "</body></html>"
        if rng.random() < 0.5:
            case["preheader"] = one_line(rng, 80)
        if rng.random() < 0.4:
            case["inline"] = rng.randbytes(rng.randint(1, 300))
            case["inline_name"] = one_line(rng, 20)
            case["content_id"] = "img%d@m.example.jp" % number
    if rng.random() < 0.5:
        case["file"] = rng.randbytes(rng.randint(1, 600))
        case["filename"] = one_line(rng, rng.choice([8, 40, 90]), max_bytes=1000)
    return {k: v.encode() if isinstance(v, str) else v for k, v in case.items()}


def pack(records):
    out = []
    for fields in records:
        for name, value in fields.items():
            out.append(b"%s %d\n%s\n" % (name.encode(), len(value), value))
        out.append(b".\n")
    return b"".join(out)


def unpack(data):
    records, fields, at = [], {}, 0
    while at < len(data):
        end = data.index(b"\n", at)
        line, at = data[at:end], end + 1
        if line == b".":
            records.append(fields)
            fields = {}
            continue
        name, size = line.decode().split()
        assert name not in fields or name == "warning", "two %s in one mail" % name
        fields[name] = data[at : at + int(size)]
        at += int(size) + 1
    return records


def run_judge(program, records):
    done = subprocess.run([os.path.join(BUILD, program)], input=pack(records), stdout=subprocess.PIPE, check=True)
    return unpack(done.stdout)


@pytest.fixture(scope="module")
def cases():
    rng = random.Random(SEED)
    return [make_case(rng, n) for n in range(CASES)]


@pytest.fixture(scope="module")
def mails(cases):
    got = run_judge("mime_gen", cases)
    assert len(got) == len(cases)
    for case, record in zip(cases, got):
        assert "mail" in record, (case, record)
    return [record["mail"] for record in got]


def lines_of(b):
    """Text is compared with LF line ends, one behind the last line."""
    text = re.sub("\r\n|\r", "\n", b.decode())
    return text if text.endswith("\n") or not text else text + "\n"


def without_preheader(html):
    return re.sub(r'<div style="display:none[^>]*>.*?</div>', "", html, count=1, flags=re.S)


def check(case, got):
    """got: what a reader made of the mail, in the fields of the case."""
    assert unquoted(got["from"]) == unquoted(case["from"]) and unquoted(got["to"]) == unquoted(case["to"])
    for name in ("from_name", "to_name", "subject", "extra", "message_id", "date"):
        assert got.get(name, b"").decode() == case[name].decode(), name
    for name in ("file", "filename", "inline", "inline_name", "content_id"):
        assert got.get(name) == case.get(name), name
    assert ("text" in got) == ("text" in case) and ("html" in got) == ("html" in case)
    if "text" in case:
        assert lines_of(got["text"]) == lines_of(case["text"])
    if "html" in case:
        html = lines_of(got["html"])
        if "preheader" in case:
            preheader = case["preheader"].decode().replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
            assert preheader in html
            html = without_preheader(html)
        assert html == lines_of(case["html"])


def unquoted(address):
    """taro@x, "a..b"@x and a..b@x say which person it is; how it is written is another matter."""
    local, domain = address.rsplit(b"@", 1)
    return local.strip(b'"') + b"@" + domain


def display_name(raw, name):
    """Python's parser of addresses keeps the blank between two encoded words, which RFC 2047 6.2 takes away. Its
    older decoder does it right, so that one reads names of several words."""
    m = email.message_from_bytes(raw, policy=email.policy.default)
    old = email.message_from_bytes(raw, policy=email.policy.compat32)
    if old[name].count("=?UTF-8?") < 2:
        return m[name].addresses[0].display_name.encode()
    phrase = old[name].rsplit("<", 1)[0].strip()
    return str(email.header.make_header(email.header.decode_header(phrase))).encode()


def read_python(raw):
    m = email.message_from_bytes(raw, policy=email.policy.default)
    defects = [str(d) for part in m.walk() for d in part.defects]
    defects += ["%s: %s" % (k, d) for part in m.walk() for k, v in part.items() for d in v.defects]
    got = {
        "subject": m["Subject"].encode(),
        "extra": m["X-Extra"].encode(),
        "message_id": m["Message-ID"].strip("<>").encode(),
        "date": str(int(m["Date"].datetime.timestamp())).encode(),
        "from": m["From"].addresses[0].addr_spec.encode(),
        "from_name": display_name(raw, "From"),
        "to": m["To"].addresses[0].addr_spec.encode(),
        "to_name": display_name(raw, "To"),
    }
    for part in m.walk():
        if part.is_multipart():
            continue
        disposition = part.get_content_disposition()
        if disposition == "attachment":
            got["file"], got["filename"] = part.get_content(), part.get_filename().encode()
        elif disposition == "inline":
            got["inline"], got["inline_name"] = part.get_content(), part.get_filename().encode()
            got["content_id"] = part["Content-ID"].strip("<>").encode()
        else:
            name = part.get_content_subtype().replace("plain", "text")
            assert name not in got
            got[name] = part.get_content().encode()
    return got, defects


def test_lines_keep_their_promises(mails):
    for raw in mails:
        assert raw.endswith(b"\r\n") and b"\0" not in raw and max(raw) < 0x80
        head, body = raw.split(b"\r\n\r\n", 1)
        for line in raw[:-2].split(b"\r\n"):
            assert len(line) <= 998 and b"\r" not in line and b"\n" not in line
        for line in head.split(b"\r\n"):
            assert line.strip()
            assert len(line) <= 78 or b" " not in re.sub(rb"^[\w-]+: ", b"", line).strip()
            assert len(line) <= 76 or b"=?UTF-8?" not in line
        assert not any(line.startswith(b".") for line in body.split(b"\r\n"))


def test_python_reads_back_what_went_in(cases, mails):
    for case, raw in zip(cases, mails):
        got, defects = read_python(raw)
        assert not defects, (defects, raw.decode())
        check(case, got)


def test_gmime_reads_back_what_went_in(cases, mails):
    if not os.path.exists(os.path.join(BUILD, "gmime_judge")):
        pytest.skip("gmime_judge is not built: libgmime-3.0-dev is missing")
    got = run_judge("gmime_judge", [{"mail": raw} for raw in mails])
    assert len(got) == len(mails)
    for case, raw, record in zip(cases, mails, got):
        assert "warning" not in record, (record["warning"], raw.decode())
        check(case, record)
