"""Foreign readers get back exactly what went in: mails built by mime_gen from generated texts in many scripts, in
UTF-8 and in ISO-2022-JP, read by Python's email package, by GMime and by npm's mailparser, without a defect or a
warning.

In ISO-2022-JP a reader chooses between two names of one cell (～ and 〜), and marks behind kana have become part of
it: texts are compared with that settled. Python and the C library (so GMime) know plain JIS X 0208 alone; mails with
the characters that Windows added are mailparser's to judge.

HATO_BUILD is the build folder (default: build). 1,000 mails, with HATO_DEEP=1 10,000; HATO_MIME_CASES and
HATO_MIME_SEED vary the run.
"""
import email
import email.header
import email.policy
import multiprocessing
import os
import random
import re
import subprocess
import unicodedata

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("HATO_BUILD", os.path.join(ROOT, "build"))
CASES = int(os.environ.get("HATO_MIME_CASES", "10000" if os.environ.get("HATO_DEEP") else "1000"))
PACKAGES = os.path.join(ROOT, "build", "mailparser", "node_modules")
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
    "jis": span(0x3041, 0x3093) + span(0x30A1, 0x30F6) + span(0x0391, 0x03A1) + span(0x0430, 0x044F)
    + list("夏祭通信東京都渋谷区鬱龜亞凜熙、。「」々ー～〜−‖￥　"),
    "windows": list("髙﨑①⑳ⅣⅳⅡ㈱㈲№℡㍻㌔∑♯纊彅赶神ｱﾊﾟｶﾞ｡｢｣"),
    "kana and marks": ["か\u3099", "は\u309a", "ウ\u3099", "ホ\u309a", "あ", "ゞ"],
    "ascii": list("abcdefghijklmnopqrstuvwxyz    0123456789"),
    "hostile": list("=?_.,;:<>()[]\"\\@'%*&/ -") + ["=?UTF-8?B?", "?=", "=_", "--"],
}


IN_ISO2022JP = ["jis", "jis", "windows", "kana and marks", "ascii", "hostile"]


def words(rng, most):
    """One line in one script or in several mixed."""
    choice = rng.choice(rng.alphabets)
    names = [rng.choice(choice)] if rng.random() < 0.6 else choice
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
    # Most mails in ISO-2022-JP can be, and half of those in plain JIS X 0208; the rest falls back to UTF-8.
    charset = rng.choice(["utf-8", "iso-2022-jp"])
    plain = [name for name in IN_ISO2022JP if name != "windows"]
    kind = rng.random() if charset == "iso-2022-jp" else 1
    rng.alphabets = [plain] if kind < 0.45 else [IN_ISO2022JP] if kind < 0.9 else [list(ALPHABETS)]
    case = {
        "charset": charset,
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
        if rng.random() < 0.3:
            case["flowed"] = "yes"
    if rng.random() < 0.7 or "text" not in case:
        case["html"] = "<html><body class='x'>" + paragraph(rng) + "</body></html>"
        if rng.random() < 0.5:
            case["preheader"] = one_line(rng, 80)
        if rng.random() < 0.4:
            case["inline"] = rng.randbytes(rng.randint(1, 300))
            case["inline_name"] = one_line(rng, 20).strip()
            case["content_id"] = "img%d@m.example.jp" % number
    if rng.random() < 0.5:
        case["file"] = rng.randbytes(rng.randint(1, 600))
        case["filename"] = one_line(rng, rng.choice([8, 40, 90]), max_bytes=1000).strip()
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


def is_iso2022jp(raw):
    return b"ISO-2022-JP" in raw


ONE_CELL = str.maketrans("〜‖−¢£¬¥‾—Å", "～∥－￠￡￢￥￣―\u212b")
WINDOWS = re.compile("[" + re.escape("".join(ALPHABETS["windows"]) + "ﾟﾞ") + "]")


def settled(text):
    """In ISO-2022-JP: a kana and its mark are one, and a cell has one name."""
    text = re.sub("[\u3041-\u30fe][\u3099\u309a]", lambda m: unicodedata.normalize("NFC", m[0]), text)
    return text.translate(ONE_CELL)


def is_windows(case):
    """Whether it has characters that are in Windows's ISO-2022-JP only."""
    return any(WINDOWS.search(case.get(name, b"").decode()) for name in TEXTS)


TEXTS = ("from_name", "to_name", "subject", "extra", "text", "html", "preheader")


def unflowed(text):
    """What RFC 3676 has a reader make of format=flowed with delsp=yes, without quotations."""
    out = []
    for line in text.split("\n"):
        line = line[1:] if line.startswith(" ") else line
        soft = line.endswith(" ") and line != "-- "
        out.append(line[:-1] if soft else line + "\n")
    return "".join(out)[:-1]


def lines_of(b):
    """Text is compared with LF line ends, one behind the last line."""
    text = re.sub("\r\n|\r", "\n", b.decode())
    return text if text.endswith("\n") or not text else text + "\n"


def without_preheader(html):
    return re.sub(r'<div style="display:none[^>]*>.*?</div>', "", html, count=1, flags=re.S)


def check(case, raw, got, reader_unflows=False):
    """got: what a reader made of the mail, in the fields of the case."""
    same = settled if is_iso2022jp(raw) else str
    assert unquoted(got["from"]) == unquoted(case["from"]) and unquoted(got["to"]) == unquoted(case["to"])
    for name in ("from_name", "to_name", "subject", "extra", "message_id", "date"):
        assert same(got.get(name, b"").decode()) == same(case[name].decode()), name
    for name in ("file", "filename", "inline", "inline_name", "content_id"):
        assert got.get(name) == case.get(name), name
    assert ("text" in got) == ("text" in case) and ("html" in got) == ("html" in case)
    if "text" in case:
        text, want = same(lines_of(got["text"])), same(lines_of(case["text"]))
        if "flowed" in case:
            text = text if reader_unflows else unflowed(text)
            want = re.sub("(?m)(?<!^--) +$|(?<=^--)  +$|^ +$", "", want)
        assert text == want
    if "html" in case:
        html = same(lines_of(got["html"]))
        if "preheader" in case:
            preheader = same(case["preheader"].decode()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
            assert preheader in html
            html = without_preheader(html)
        assert html == same(lines_of(case["html"]))


def unquoted(address):
    """taro@x, "a..b"@x and a..b@x say which person it is; how it is written is another matter."""
    local, domain = address.rsplit(b"@", 1)
    return local.strip(b'"') + b"@" + domain


def display_name(value, old):
    """Python's parser of addresses keeps the blank between two encoded words, which RFC 2047 6.2 takes away. Its
    older decoder does it right, so that one reads names of several words."""
    if len(re.findall(r"=\?(?:UTF-8|ISO-2022-JP)\?", old)) < 2:
        return value.addresses[0].display_name.encode()
    phrase = old.rsplit("<", 1)[0].strip()
    return str(email.header.make_header(email.header.decode_header(phrase))).encode()


def raw_value(raw, name):
    return re.search(rb"(?ms)^%s:(.*?)\r\n(?![ \t])" % name, raw)[1].decode()


def filename(part):
    """Not get_filename(), which takes < and > off its ends."""
    return part["Content-Disposition"].params["filename"].encode()


def read_python(raw):
    m = email.message_from_bytes(raw, policy=email.policy.default)
    head = dict(m.items())  # each look is a parse
    defects = [str(d) for part in m.walk() for d in part.defects]
    defects += ["%s: %s" % (k, d) for k, v in head.items() for d in v.defects]
    got = {
        "subject": head["Subject"].encode(),
        "extra": head["X-Extra"].encode(),
        "message_id": head["Message-ID"].strip("<>").encode(),
        "date": str(int(head["Date"].datetime.timestamp())).encode(),
        "from": head["From"].addresses[0].addr_spec.encode(),
        "from_name": display_name(head["From"], raw_value(raw, b"From")),
        "to": head["To"].addresses[0].addr_spec.encode(),
        "to_name": display_name(head["To"], raw_value(raw, b"To")),
    }
    for part in m.walk():
        if part.is_multipart():
            continue
        defects += ["%s: %s" % (k, d) for k, v in part.items() for d in v.defects]
        disposition = part.get_content_disposition()
        if disposition == "attachment":
            got["file"], got["filename"] = part.get_content(), filename(part)
        elif disposition == "inline":
            got["inline"], got["inline_name"] = part.get_content(), filename(part)
            got["content_id"] = part["Content-ID"].strip("<>").encode()
        else:
            name = part.get_content_subtype().replace("plain", "text")
            assert name not in got
            got[name] = part.get_content().encode()
    return got, defects


def test_lines_keep_their_promises(mails):
    assert sum(is_iso2022jp(raw) for raw in mails) > len(mails) // 3
    for raw in mails:
        assert raw.endswith(b"\r\n") and b"\0" not in raw and max(raw) < 0x80
        head, body = raw.split(b"\r\n\r\n", 1)
        for line in raw[:-2].split(b"\r\n"):
            assert len(line) <= 998 and b"\r" not in line and b"\n" not in line
        for line in head.split(b"\r\n"):
            assert line.strip()
            assert len(line) <= 78 or b" " not in re.sub(rb"^[\w-]+: ", b"", line).strip()
            assert len(line) <= 76 or not re.search(rb"=\?(UTF-8|ISO-2022-JP)\?", line)
            assert all(len(word) <= 75 for word in re.findall(rb"=\?[\w-]+\?[BQ]\?[^?]*\?=", line))
        for line in body.split(b"\r\n"):
            assert not line.startswith(b".")
            assert b"\x1b" not in line or line.rindex(b"\x1b") == line.rindex(b"\x1b(B")  # ends in ASCII
        assert b"charset=ISO-2022-JP" not in raw or b"charset=UTF-8" not in raw


def check_python(pair):
    case, raw = pair
    got, defects = read_python(raw)
    assert not defects, (defects, raw.decode())
    check(case, raw, got)


def readable_to_all(cases, mails):
    return [(case, raw) for case, raw in zip(cases, mails) if not (is_iso2022jp(raw) and is_windows(case))]


def test_python_reads_back_what_went_in(cases, mails):
    pairs = readable_to_all(cases, mails)
    assert len(pairs) > len(mails) * 2 // 3
    with multiprocessing.Pool() as pool:
        pool.map(check_python, pairs, chunksize=50)


def test_gmime_reads_back_what_went_in(cases, mails):
    if not os.path.exists(os.path.join(BUILD, "gmime_judge")):
        pytest.skip("gmime_judge is not built: libgmime-3.0-dev is missing")
    pairs = readable_to_all(cases, mails)
    got = run_judge("gmime_judge", [{"mail": raw} for _, raw in pairs])
    assert len(got) == len(pairs)
    for (case, raw), record in zip(pairs, got):
        assert "warning" not in record, (record["warning"], raw.decode())
        check(case, raw, record)


def test_mailparser_reads_back_what_went_in(cases, mails):
    if not os.path.exists(PACKAGES):
        pytest.skip("mailparser is not installed: scripts/setup --tests does that")
    judge = os.path.join(ROOT, "tests", "judges", "mailparser", "judge.cjs")
    done = subprocess.run(["node", judge, PACKAGES], input=pack({"mail": raw} for raw in mails), stdout=subprocess.PIPE,
                          check=True)
    got = unpack(done.stdout)
    assert len(got) == len(mails)
    for case, raw, record in zip(cases, mails, got):
        for name in ("filename", "inline_name"):
            if b"=?" in case.get(name, b"") and name in record: # it decodes what looks like an encoded word there
                record[name] = case[name]
        check(case, raw, record, reader_unflows=True)
