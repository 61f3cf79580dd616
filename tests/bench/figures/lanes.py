"""lanes: 50,000 lanes that wait for one limit of 20 a second: CPU of the loop's thread (mark 14)

HATO_BENCH_LANES=N makes it so many, HATO_BENCH_SECONDS=N measures so long (30)."""
import signal
import time

import mail
from rig import Failed, Others, cpu_of, figure, mark, setting

RATE = 20


def bench(rig):
    n, seconds = setting("LANES", 50000), setting("SECONDS", 30)
    room = rig.room("lanes")
    mail.keygen(room)
    mail.people(room / "people.csv", n, domains=n)
    mail.script(room, head=f'hato.limit {{ by = {{ "isp" }}, rate = "{RATE}/s" }}')
    sink = mail.Sink(rig, world=mail.ONE_HOST)
    run = mail.hato_run(room, sink, "--wait", "1 h")
    while sink.bytes_read() < 2 * RATE * mail.MAIL_BYTES:  # people are in, and two seconds of mail are out
        if not run.is_running():
            raise Failed(f"hato run ended early\n{run.says()}")
        time.sleep(0.1)
    began, cpu, read, others = time.monotonic(), cpu_of(run.pid, run.pid), sink.bytes_read(), Others()
    time.sleep(seconds)
    took, busy = time.monotonic() - began, others.cores()
    cpu, read = cpu_of(run.pid, run.pid) - cpu, sink.bytes_read() - read
    run.stop(signal.SIGINT)
    sink.stop()
    told = {"lanes": n, "limit": f"{RATE}/s by isp", "seconds": seconds, "others_cores": busy,
            "messages_per_second": round(read / took / mail.MAIL_BYTES, 1)}
    figure("lanes", "loop_cpu", cpu / took * 1e6, "us/s", **told)
    mark("14_lanes_loop_cpu", cpu / took * 100, "% of a core", "<= 2", **told)
