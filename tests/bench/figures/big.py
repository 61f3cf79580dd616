"""big: 100 KB on the wire, an attachment that all share: hato beside Postfix with OpenDKIM (mark 6)

HATO_BENCH_MESSAGES=N makes hato send so many (20000), and the peer a tenth of it."""
import random

import mail
from relays import Delivered, Postfix, Relayed
from rig import figure, mark, setting

SIZE = 102400
ATTACHED = 67300  # what fills our mail to SIZE when it is base64


def bench(rig):
    n = setting("MESSAGES", 20000)
    room = rig.room("big")
    mail.keygen(room)
    mail.people(room / "people.csv", n)
    (room / "flyer.pdf").write_bytes(b"%PDF-1.4\n" + random.Random(1).randbytes(ATTACHED))
    mail.script(room, campaign='attach = { "flyer.pdf" },')
    ours = Delivered(rig, room, n)
    figure("big", "hato_messages_per_second", ours.rate, "1/s", **ours.conditions)
    figure("big", "hato_cpu_per_message", ours.cpu_us, "us", **ours.conditions)
    figure("big", "hato_sink_cpu_per_message", ours.sink_cpu_us, "us", **ours.conditions)
    theirs = Relayed(rig, lambda r, sink: Postfix(r, sink, sign=True), max(100, n // 10), SIZE)
    figure("big", "postfix_opendkim_messages_per_second", theirs.rate, "1/s", **theirs.conditions)
    figure("big", "postfix_opendkim_cpu_per_message", theirs.cpu_us, "us", **theirs.conditions)
    mark("6_big_messages_per_second", ours.rate, "1/s", ">= 1875", **ours.conditions)
    mark("6_big_postfix_opendkim_ratio", ours.rate / theirs.rate, "ratio", ">= 8",
         hato_messages_per_second=round(ours.rate, 1), peer_messages_per_second=round(theirs.rate, 1),
         **theirs.conditions)
