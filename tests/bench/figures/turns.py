"""turns: how long the loop's turns are while it delivers at full speed and a hook sees every batch of events (mark 13)

A turn's time is what it worked, from the end of one poll to the beginning of the next, by the clock: where others want
the cores, their share of it is in there. Taken once with RSA-2048 and once with Ed25519, which makes four times as many
mails a second. HATO_BENCH_MESSAGES=N sends so many with RSA (40000), and four times as many with Ed25519."""
import re

import mail
from rig import Failed, Others, figure, mark, setting

HOOK = """local seen = 0
hato.on("events", function(batch)
  for _, event in ipairs(batch) do
    if event.type == "delivered" then seen = seen + 1 end
  end
end)"""


def turns(rig, algorithm, n):
    room = rig.room(f"turns-{algorithm}")
    mail.keygen(room, algorithm=algorithm)
    mail.people(room / "people.csv", n)
    mail.script(room, head=HOOK)
    sink, others = mail.Sink(rig), Others()
    run = mail.delivered(mail.hato_run(room, sink, "--wait", "0", "--log", "debug"), n)
    busy = others.cores()
    sink.stop()
    said = re.search(r"room=loop turns=(\d+) over_10ms=(\d+) over_50ms=(\d+) longest_us=(\d+)", run.says())
    if not said:
        raise Failed(f"the log has no line of the loop's turns\n{run.says()}")
    all_of_them, over_10, over_50, longest_us = map(int, said.groups())
    rsa = algorithm == "rsa"
    told = mail.conditions(room, messages=n, bytes_a_message=sink.bytes // n, dkim="rsa-2048" if rsa else "ed25519",
                           tls="none", hook="events", turns=all_of_them, others_cores=busy,
                           messages_per_second=round(n / run.wall, 1))
    figure("turns", "longest", longest_us / 1000, "ms", **told)
    mark("13_turns_over_10ms", over_10 * 1000 / all_of_them, "of 1000", "<= 1", **told)
    mark("13_turns_over_50ms", over_50, "turns", "0", **told)


def bench(rig):
    n = setting("MESSAGES", 40000)
    turns(rig, "rsa", n)
    turns(rig, "ed25519", 4 * n)
