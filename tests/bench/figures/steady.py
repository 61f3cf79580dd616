"""steady: ten minutes at full speed: memory at the end over memory after one minute (mark 12)

HATO_BENCH_SECONDS=N makes it shorter (600); "after one minute" is then after a tenth of it."""
import signal
import time

import mail
from rig import Failed, Others, figure, mark, rss_anon, setting

MOST_PER_SECOND = 4000  # people enough that none is left without


def bench(rig):
    seconds = setting("SECONDS", 600)
    n = seconds * MOST_PER_SECOND
    room = rig.room("steady")
    mail.keygen(room)
    mail.people(room / "people.csv", n)
    mail.script(room)
    sink, others = mail.Sink(rig), Others()
    run = mail.hato_run(room, sink, "--wait", "0")
    while sink.bytes_read() < mail.MAIL_BYTES:  # full speed begins when the people are in
        if not run.is_running():
            raise Failed(f"hato run ended early\n{run.says()}")
        time.sleep(0.1)
    time.sleep(seconds / 10)
    early = rss_anon(run.pid)
    time.sleep(seconds - seconds / 10)
    if not run.is_running():
        raise Failed(f"hato run ended early\n{run.says()}")
    late, busy = rss_anon(run.pid), others.cores()
    run.stop(signal.SIGINT)
    got = mail.totals(run)["delivered"]
    sink.stop()
    told = mail.conditions(room, seconds=seconds, recipients=n, messages=got, dkim="rsa-2048", tls="none",
                           messages_per_second=round(got / seconds, 1), others_cores=busy)
    figure("steady", "rss_anon_early", early / 1e6, "MB", **told)
    figure("steady", "rss_anon_late", late / 1e6, "MB", **told)
    mark("12_memory_late_over_early", late / early, "ratio", "<= 1.05", **told)
