"""ed25519: CPU a mail signed with Ed25519 alone, beside smtp-source sending prepared ones to the same sink (mark 2)

HATO_BENCH_MESSAGES=N sends so many (50000)."""
import statistics

import mail
from relays import smtp_source
from rig import Failed, Others, figure, mark, setting


def bench(rig):
    n = setting("MESSAGES", 50000)
    room = rig.room("ed25519")
    mail.keygen(room, algorithm="ed25519")
    mail.people(room / "people.csv", n)
    mail.script(room)
    sink, others = mail.Sink(rig), Others()
    run = mail.delivered(mail.hato_run(room, sink, "--wait", "0"), n)
    busy = others.cores()
    sink.stop()
    told = mail.conditions(room, messages=n, bytes_a_message=sink.bytes // n, dkim="ed25519", tls="none",
                           others_cores=busy)
    figure("ed25519", "messages_per_second", n / run.wall, "1/s", **told)
    figure("ed25519", "cpu_per_message", run.cpu / n * 1e6, "us", **told)
    figure("ed25519", "sink_cpu_per_message", sink.cpu / n * 1e6, "us", **told)

    prepared = statistics.median(prepared_cpu(rig, room, n) for _ in range(3))  # it varies by a third
    figure("ed25519", "smtp_source_cpu_per_message", prepared / n * 1e6, "us", messages=n,
           connections=mail.CONNECTIONS, of="three runs, the median")
    mark("2_cpu_over_smtp_source", run.cpu / prepared, "ratio", "<= 3", **told)


def prepared_cpu(rig, room, n):
    """What smtp-source needs to send so many mails to a sink of their own."""
    sink = mail.Sink(rig)
    source = smtp_source(room, sink.port, n).done()
    sink.stop()
    if sink.messages != n:
        raise Failed(f"of {n} mails of smtp-source {sink.messages} arrived")
    return source.cpu
