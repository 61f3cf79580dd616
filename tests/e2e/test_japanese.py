"""Streams in ISO-2022-JP from script to receiver: what arrives, what is counted, and which rows are refused."""
import email
import email.policy
import subprocess

import pytest

from campaign import Campaign, log_of, running_sink

WORLD = """
return { isps = {
  keitai = { domains = { "keitai.test" }, mx = { "mx.keitai.test" }, address = "127.0.47.1",
             replies = { { phase = "rcpt", to = '^"', reply = "550 5.1.1 unknown" } } },
  big = { domains = { "big.test" }, mx = { "mx.big.test" }, address = "127.0.47.2" },
} }
"""

SCRIPT = """
local news = hato.stream "news" { from = "夏祭り通信 <news@news.test>", charset = "iso-2022-jp", %s }
hato.campaign "hello" { stream = news, to = hato.csv "people.csv", subject = "{{ name }}様、夏祭り",
                        text = "{{ name }}様\\nご案内です。\\n" }
"""

PEOPLE = [{"email": "plain@big.test", "name": "山田"}, {"email": "windows@big.test", "name": "髙橋①㈱"},
          {"email": "kana@big.test", "name": "ﾀｶﾊｼ"}, {"email": "emoji@big.test", "name": "𠮷野🎉"}]


@pytest.fixture
def sink(hato, tmp_path):
    (tmp_path / "world.lua").write_text(WORLD)
    with running_sink(hato, tmp_path) as running:
        yield running


def took(folder):
    """{recipient: its mail}"""
    return {row["to"][0]: (folder / "mail" / row["file"]).read_bytes() for row in log_of(folder / "sink.log")
            if row.get("file")}


def text_of(raw):
    """The charset, and the body decoded by what CP932 knows where Python's ISO-2022-JP does not."""
    m = email.message_from_bytes(raw, policy=email.policy.default)
    charset = m.get_content_charset()
    if charset != "iso-2022-jp":
        return charset, m.get_content().replace("\r\n", "\n")
    out, kana, kanji = [], False, False
    body = m.get_payload(decode=True)
    at = 0
    while at < len(body):
        if body[at] == 0x1B:
            kanji, kana = body[at + 1:at + 3] == b"$B", body[at + 1:at + 3] == b"(I"
            at += 3
        elif kanji:
            row, column = body[at] - 0x20, body[at + 1] - 0x20
            lead = (row - 1) // 2 + (0x81 if row <= 62 else 0xC1)
            trail = column + 0x3F + (column >= 64) if row % 2 else column + 0x9E
            out.append(bytes([lead, trail]))
            at += 2
        else:
            out.append(bytes([body[at] + 0x80 if kana else body[at]]))
            at += 1
    return charset, b"".join(out).decode("cp932").replace("\r\n", "\n")


@pytest.mark.parametrize("options, want, lost", [
    ("", {"plain": ("iso-2022-jp", "山田"), "windows": ("iso-2022-jp", "髙橋①㈱"), "kana": ("iso-2022-jp", "ﾀｶﾊｼ"),
          "emoji": ("utf-8", "𠮷野🎉")}, {"emoji": 4}),
    ('unmappable = "geta"', {"windows": ("iso-2022-jp", "髙橋①㈱"), "emoji": ("iso-2022-jp", "〓野〓")}, {"emoji": 4}),
    ('unmappable = "fold"', {"plain": ("iso-2022-jp", "山田"), "windows": ("iso-2022-jp", "髙橋(1)(株)"),
                             "kana": ("iso-2022-jp", "タカハシ"), "emoji": ("iso-2022-jp", "〓野〓")},
     {"windows": 4, "kana": 8, "emoji": 4}),
    ('unmappable = "error"', {"windows": ("iso-2022-jp", "髙橋①㈱"), "emoji": None}, {}),
])
def test_what_iso_2022_jp_lacks_goes_its_way_and_is_counted(hato, tmp_path, sink, options, want, lost):
    campaign = Campaign(hato, tmp_path, {"people.csv": PEOPLE}, SCRIPT % options)
    out = campaign.run(sink.port, sink.dns)
    mails = took(tmp_path)
    for name, expected in want.items():
        address = name + "@big.test"
        if expected is None:
            assert address not in mails
            assert "people.csv:5: the subject has 𠮷 U+20BB7, which ISO-2022-JP has not" in out.says
            continue
        charset, name = expected
        assert text_of(mails[address]) == (charset, f"{name}様\nご案内です。\n")
        assert (b"=?ISO-2022-JP?B?" in mails[address]) == (charset == "iso-2022-jp")
    assert out.counts["rejected_rows"] == (None in want.values())
    assert out.counts["unmappable"] == sum(lost.values()) and out.counts["unmappable_mails"] == len(lost)
    said = {e["recipient"].split("@")[0]: e["unmappable"] for e in out.events if e.get("unmappable")}
    assert said == lost
    assert out.counts["accepted"] == out.counts["delivered"] == len(PEOPLE) - (None in want.values())


def test_an_old_carriers_address_is_raw_once_and_that_is_remembered(hato, tmp_path, sink):
    campaign = Campaign(hato, tmp_path, {"people.csv": ["a..b@keitai.test"]}, SCRIPT.replace("{{ name }}", "") % "")
    campaign.run(sink.port, sink.dns)
    (tmp_path / "people.csv").write_text("email\r\na..b@keitai.test\r\nc.@keitai.test\r\n")
    campaign.addresses.append("c.@keitai.test")
    out = campaign.run(sink.port, sink.dns)
    assert [e["type"] for e in out.events if e["recipient"] == "c.@keitai.test"] == ["accepted", "delivered"]
    asked = [row["to"] for row in log_of(tmp_path / "sink.log")]
    assert asked == [['"a..b"@keitai.test', "a..b@keitai.test"], ["c.@keitai.test"]] or \
        asked == [["a..b@keitai.test"], ["c.@keitai.test"]], asked


def test_flowed_text_in_iso_2022_jp_leaves_as_such(hato, tmp_path, sink):
    more = "夏祭り" * 60
    campaign = Campaign(hato, tmp_path, {"people.csv": [{"email": "a@big.test", "name": more}]},
                        SCRIPT.replace('subject = "{{ name }}様', 'subject = "') % "flowed = true")
    campaign.run(sink.port, sink.dns)
    raw = took(tmp_path)["a@big.test"]
    assert b"Content-Type: text/plain; charset=ISO-2022-JP; format=flowed; delsp=yes\r\n" in raw
    charset, text = text_of(raw)
    assert max(map(len, text.splitlines())) <= 37 and text.replace(" \n", "") == more + "様\nご案内です。\n"


def test_a_word_that_is_no_manner_is_refused_with_its_line(hato, tmp_path):
    for options, why in (('unmappable = "drop"', 'unmappable wants "utf-8", "fold", "geta" or "error", not "drop"'),
                         ('charset = "sjis"', 'charset wants "utf-8" or "iso-2022-jp", not "sjis"'),
                         ('charset = "utf-8", unmappable = "fold"', 'unmappable is for charset = "iso-2022-jp"')):
        script = 'local hato = require "hato"\nhato.stream "news" { from = "a@b.test", %s }\n' % options
        if "charset" not in options:
            script = script.replace('"a@b.test",', '"a@b.test", charset = "iso-2022-jp",')
        (tmp_path / "init.lua").write_text(script)
        done = subprocess.run([hato, "run", tmp_path / "init.lua"], capture_output=True, text=True, timeout=20)
        assert done.returncode == 2 and "init.lua:2:" in done.stderr and why in done.stderr
