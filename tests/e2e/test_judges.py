"""A thousand mails of many shapes from one `hato run`, as they arrived, in the eyes of others: dkimpy and OpenDKIM
verify every signature, Python's email and GMime read every part, and the headers are what we say they are."""
import base64
import collections
import datetime
import email
import email.policy
import re
import socket
import subprocess
import types

import pytest

from campaign import Campaign, log_of, running_sink
from mime_judges_test import run_judge

dkim = pytest.importorskip("dkim")

COUNT = 1000
DOMAIN = "m.news.test"
WORLD = """
return { isps = {
  takes = { every_domain = true, mx = { "mx.takes.test" }, address = "127.0.31.1" },
  grey  = { domains = { "grey.test" }, mx = { "mx.grey.test" }, address = "127.0.31.2", greylist = "1 s" },
} }
"""
PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYPhfDwADggGAcqAwUQAAAABJRU5ErkJggg==")
FLYER = bytes(range(256)) * 40
TEXT = "{{ name }}様\n\n夏のセールのお知らせです。\n.\n..点で始まる行\nFrom here on: = and =20\n" + "長い行" * 150 + "\nsoft end "
HTML = "<html><body><p>{{ name }}様 🎉</p><p>夏のセール</p>%s</body></html>"

SCRIPT = """
hato.bounces { retry = { "2 s", give_up = "1 min" } }
hato.isp "takes" { domains = { "example.test" }, connections = 20 }
local rsa = { domain = "m.news.test", selector = "r1", key = "r1.pem" }
local ed = { domain = "m.news.test", selector = "e1", key = "e1.pem" }
local both = hato.stream "both" {
  from = "夏祭り通信 🎆 <news@m.news.test>", dkim = { rsa, ed }, bounce = "b.m.news.test",
  unsubscribe = { url = "https://news.test/u/{{ token }}", mailto = "u@news.test", one_click = true },
}
local plain = hato.stream "plain" {
  from = "News, Inc. <news@m.news.test>", dkim = { rsa }, reply_to = "desk@news.test",
}
local flyer = { { "flyer.pdf", name = "夏のセールのご案内（長い名前のファイル）2026年.pdf" } }
local function shape(name, options)
  options.to = hato.csv(name .. ".csv")
  hato.campaign(name)(options)
end
shape("text", { stream = both, subject = "{{ name }}様へ", text = hato.file "body.txt" })
shape("html", { stream = both, subject = "【48時間限定】{{ name }}様、夏のセール🎉のお知らせ", html = hato.file "body.html",
                preheader = "会員先行 👀 {{ name }}" })
shape("both", { stream = both, subject = "Summer", text = hato.file "body.txt", html = hato.file "body.html",
                attach = flyer, headers = { ["X-Kind"] = "夏 {{ name }}" } })
shape("inline", { stream = plain, subject = "{{ name }}", html = hato.file "logo.html", text = hato.file "body.txt",
                  inline = { { cid = "logo", "logo.png" } }, attach = flyer, preheader = "plain words" })
shape("ascii", { stream = plain, subject = "Order " .. ("very long subject "):rep(12) .. "end", text = "Thank you.\\n",
                 reply_to = "{{ name }} <help@news.test>" })
"""
SHAPES = ("text", "html", "both", "inline", "ascii")
NAMES = ["山田 太郎", "髙橋﨑", "𠮷野家", "O'Brien, \"Pat\"", "ｶﾌﾞｼｷｶﾞｲｼｬ", "日" * 60, "👨‍👩‍👧‍👦 family", "Zoë Ångström", "=?UTF-8?B?44GC?=",
         "a@b.test", "김철수", "محمد", "plain", "か\u3099", "<b>&amp;</b>", "trailing\\", "語 " * 30 + "終"]


def people_of(shape, count):
    rows = []
    for i in range(count):
        domain = "grey.test" if i % 25 == 7 else "example.test"
        local = f'"{shape}..{i}"' if i % 50 == 3 else f"{shape}{i}"
        rows.append({"email": f"{local}@{domain}", "name": NAMES[i % len(NAMES)]})
    return rows


@pytest.fixture(scope="module")
def sample(hato, tmp_path_factory):
    """What arrived: .mails as (campaign, person, log entry, bytes), `.log`, .outcome, .records of DNS by selector."""
    folder = tmp_path_factory.mktemp("judges")
    people = {shape: people_of(shape, COUNT // len(SHAPES)) for shape in SHAPES}
    campaign = Campaign(hato, folder, {f"{shape}.csv": rows for shape, rows in people.items()}, SCRIPT)
    records = {}
    for selector, more in (("r1", []), ("e1", ["--ed25519"])):
        done = subprocess.run([hato, "keygen", DOMAIN, selector, "--out", folder / f"{selector}.pem", *more], check=True,
                              capture_output=True, text=True)
        records[selector] = "".join(re.findall(r'"([^"]*)"', done.stdout))
    (folder / "body.txt").write_text(TEXT)
    (folder / "body.html").write_text(HTML % "")
    (folder / "logo.html").write_text(HTML % '<img src="cid:logo">')
    (folder / "logo.png").write_bytes(PNG)
    (folder / "flyer.pdf").write_bytes(FLYER)
    (folder / "world.lua").write_text(WORLD)
    with running_sink(hato, folder) as sink:
        outcome = campaign.run(sink.port, sink.dns, "--wait", "10 s")
    log = log_of(folder / "sink.log")
    taken = [entry for entry in log if entry["taken"]]
    assert outcome.counts["delivered"] == COUNT, (outcome.counts, outcome.says)
    outcome.account(campaign.addresses, [to for entry in taken for to in entry["to"]])
    by_address = {row["email"]: (shape, row) for shape, rows in people.items() for row in rows}
    mails = [(*by_address[entry["to"][0]], entry, (folder / "mail" / entry["file"]).read_bytes()) for entry in taken]
    return types.SimpleNamespace(folder=folder, mails=mails, log=log, records=records, outcome=outcome)


def signatures(raw):
    """The tags of each DKIM-Signature, in order."""
    head = re.sub(rb"\r\n[ \t]+", b" ", raw.partition(b"\r\n\r\n")[0]).decode()
    found = re.findall(r"^DKIM-Signature:(.*)$", head, re.M)
    return [dict(re.split(r"\s*=\s*", tag.strip(), maxsplit=1) for tag in one.split(";") if tag.strip()) for one in found]


def test_dkimpy_verifies_every_signature(sample):
    records = {f"{s}._domainkey.{DOMAIN}.".encode(): record.encode() for s, record in sample.records.items()}
    for shape, person, _, raw in sample.mails:
        wanted = ["r1", "e1"] if shape in ("text", "html", "both") else ["r1"]
        assert sorted(s["s"] for s in signatures(raw)) == sorted(wanted)
        judge = dkim.DKIM(raw)
        for i in range(len(wanted)):
            assert judge.verify(idx=i, dnsfunc=lambda name, timeout=5: records.get(name)), (person, raw.decode())


def test_opendkim_verifies_every_signature(sample):
    """It looks at one signature after the other until one is good, so each kind of key is judged alone."""
    for selector, signed in (("r1", SHAPES), ("e1", ("text", "html", "both"))):
        name = f"{selector}._domainkey.{DOMAIN}"
        folder = sample.folder / f"opendkim-{selector}"
        folder.mkdir()
        (folder / "records").write_text(f"{name} {sample.records[selector]}\n")
        (folder / "conf").write_text(f"Mode v\nTestDNSData file:{folder}/records\nOn-BadSignature reject\n"
                                     "On-NoSignature reject\n")
        files = []
        for shape, _, entry, raw in sample.mails:
            if shape in signed:
                files.append(folder / entry["file"])
                files[-1].write_bytes(without_other_signatures(raw, selector))
        for at in range(0, len(files), 100):
            some = files[at:at + 100]
            done = subprocess.run(["opendkim", "-x", folder / "conf", "-t", ",".join(map(str, some)), "-v", "-v"],
                                  capture_output=True, text=True, timeout=60)
            words = done.stdout + done.stderr
            good = set(re.findall(r"^opendkim: (\S+): verification \(s=[^)]*\) succeeded$", words, re.M))
            assert done.returncode == 0 and good == set(map(str, some)), words


def without_other_signatures(raw, selector):
    """Signatures do not cover each other: one can be taken out."""
    head, _, body = raw.partition(b"\r\n\r\n")
    fields = re.split(rb"\r\n(?![ \t])", head)
    kept = [f for f in fields if not f.startswith(b"DKIM-Signature:") or b"s=%s;" % selector.encode() in f]
    return b"\r\n".join(kept) + b"\r\n\r\n" + body


def test_python_reads_every_part_without_defects(sample):
    for shape, person, _, raw in sample.mails:
        m = email.message_from_bytes(raw, policy=email.policy.default)
        for part in m.walk():
            assert part.defects == [], (person, part.defects)
            for name, value in part.items():
                assert value.defects == (), (person, name, value.defects)
        parts = {p.get_content_type(): p for p in m.walk() if not p.is_multipart()}
        kinds = {"text": ["text/plain"], "html": ["text/html"], "both": ["text/plain", "text/html", "application/pdf"],
                 "inline": ["text/plain", "text/html", "image/png", "application/pdf"], "ascii": ["text/plain"]}
        assert sorted(parts) == sorted(kinds[shape])
        if "text/plain" in parts and shape != "ascii":
            words = parts["text/plain"].get_content().replace("\r\n", "\n").rstrip("\n")
            assert words == TEXT.replace("{{ name }}", person["name"]).rstrip("\n")
        if "text/html" in parts:
            assert "夏のセール</p>" in parts["text/html"].get_content()
        if "application/pdf" in parts:
            assert parts["application/pdf"].get_content() == FLYER
            assert parts["application/pdf"].get_filename() == "夏のセールのご案内（長い名前のファイル）2026年.pdf"
        if "image/png" in parts:
            assert parts["image/png"].get_content() == PNG and parts["image/png"]["Content-ID"] == "<logo>"
        to = m["To"].addresses[0]
        assert f"{to.username}@{to.domain}".replace('"', "") == person["email"].replace('"', "")
        subject = {"text": person["name"] + "様へ", "html": f"【48時間限定】{person['name']}様、夏のセール🎉のお知らせ",
                   "both": "Summer", "inline": person["name"], "ascii": "Order " + "very long subject " * 12 + "end"}[shape]
        assert m["Subject"] == subject


def test_gmime_reads_every_mail_without_a_warning(sample):
    got = run_judge("gmime_judge", [{"mail": raw} for _, _, _, raw in sample.mails])
    for (shape, person, _, raw), read in zip(sample.mails, got, strict=True):
        assert "warning" not in read, (person, read["warning"], raw.decode())
        assert ("html" in read) == (shape in ("html", "both", "inline")) and ("file" in read) == (shape in ("both", "inline"))
        assert read["date"] != b"-1" and read["from"] == f"news@{DOMAIN}".encode()


def fields_of(raw):
    """(name, unfolded value) of the message's own header."""
    head = re.sub(rb"\r\n([ \t])", rb"\1", raw.partition(b"\r\n\r\n")[0]).decode()
    return [tuple(part.strip() for part in line.split(":", 1)) for line in head.split("\r\n")]


COVERED = {"from", "to", "cc", "subject", "date", "message-id", "reply-to", "mime-version", "feedback-id"}
OVERSIGNED = {"from", "to", "cc", "subject", "date", "reply-to", "content-type"}


def test_headers_are_one_of_each_and_tell_nothing_of_this_machine(sample):
    here = {socket.gethostname().lower(), socket.getfqdn().lower()} - {"localhost"}
    ids = set()
    for shape, person, _, raw in sample.mails:
        fields = fields_of(raw)
        names = collections.Counter(name.lower() for name, _ in fields)
        value = {name.lower(): text for name, text in fields}
        assert not [name for name, n in names.items() if n > 1 and name != "dkim-signature"]
        assert {"from", "date", "message-id", "to", "subject", "mime-version", "content-type", "list-id"} <= set(names)
        assert not {"received", "x-mailer", "user-agent", "sender", "bcc", "return-path"} & set(names)
        for name, text in fields:
            text = re.sub(r"=\?UTF-8\?.*?\?=|\bbh?=[^;]*", "", text)
            assert not here & set(re.findall(r"[\w.-]+", text.lower())), (name, text)
        assert re.fullmatch(r"<[^<>@\s]+@m\.news\.test>", value["message-id"])
        ids.add(value["message-id"])
        assert value["feedback-id"].count(":") == 3
        assert raw.isascii() and re.search(rb"(?<!\r)\n|\r(?!\n)|[^\r\n]{999}", raw) is None
        unsubscribes = {name for name in names if name.startswith("list-unsubscribe")}
        if shape in ("text", "html", "both"):
            assert re.fullmatch(r"<https://news\.test/u/[^<>\s]+>, ?<mailto:u@news\.test[^<>\s]*>", value["list-unsubscribe"])
            assert value["list-unsubscribe-post"] == "List-Unsubscribe=One-Click"
        else:
            assert not unsubscribes
        for signature in signatures(raw):
            h = collections.Counter(re.split(r"\s*:\s*", signature["h"].lower()))
            assert "l" not in signature and signature["c"] == "relaxed/relaxed" and signature["d"] == DOMAIN
            for name, n in names.items():
                if name in COVERED or name.startswith(("content-", "list-")):
                    assert h[name] == n + (name in OVERSIGNED), (name, signature["h"])
            assert all(h[name] == names[name] + 1 for name in OVERSIGNED), signature["h"]
    assert len(ids) == COUNT


def test_return_paths_are_one_address_a_mail_and_the_same_on_every_try(sample):
    tried = collections.defaultdict(set)
    tries = collections.Counter()
    for entry in sample.log:
        tried[entry["to"][0]].add(entry["from"])
        tries[entry["to"][0]] += 1
    greylisted = [a for a, n in tries.items() if n > 1]
    assert len(greylisted) >= COUNT // 25
    owners = collections.Counter()
    for shape, person, entry, _ in sample.mails:
        (sender,) = tried[person["email"]]
        if shape in ("text", "html", "both"):
            assert re.fullmatch(r"[a-z2-7.=+-]+@b\.m\.news\.test", sender) and len(sender) <= 64
            owners[sender] += 1
        else:
            assert sender == "news@m.news.test"
    assert max(owners.values()) == 1


def test_the_date_is_that_of_the_first_try(sample):
    def seconds(event):
        return datetime.datetime.fromisoformat(event["time"].replace("Z", "+00:00")).timestamp()

    first, accepted = {}, {}
    for event in sample.outcome.events:
        if event["type"] == "accepted":
            accepted[event["recipient"]] = event
        if event["type"] in ("deferred", "delivered"):
            first.setdefault(event["recipient"], event)
    assert sum(e["type"] == "deferred" for e in first.values()) >= COUNT // 25
    for _, person, _, raw in sample.mails:
        date = email.message_from_bytes(raw, policy=email.policy.default)["Date"].datetime.timestamp()
        assert int(seconds(accepted[person["email"]])) <= date <= seconds(first[person["email"]]), person
