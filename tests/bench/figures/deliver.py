"""deliver: hato run to hato sink on loopback, 10 KB multipart mails: CPU a mail beside what a signature costs (mark 1)

HATO_BENCH_MESSAGES=N sends so many (20000)."""
import os
import re
import subprocess

import mail
from rig import Failed, Others, figure, mark, setting


def signature_us(processes):
    """CPU of one RSA-2048 signature by OpenSSL, with so many at once."""
    done = subprocess.run(["openssl", "speed", "-mr", "-seconds", "3", "-multi", str(processes), "rsa2048"],
                          capture_output=True, text=True, check=True)
    rates = re.findall(r"^\+F2:\d+:2048:([\d.]+):", done.stdout, re.M)
    if not rates:
        raise Failed(f"openssl speed said nothing that can be read\n{done.stdout}")
    return processes * 1e6 / float(rates[-1])


def deliver(rig, tls):
    n = setting("MESSAGES", 20000)
    room = rig.room(f"deliver-{tls}")
    mail.keygen(room)
    mail.people(room / "people.csv", n)
    mail.script(room, tls=tls)
    sink, others = mail.Sink(rig), Others()
    run = mail.delivered(mail.hato_run(room, sink, "--wait", "0"), n)
    others = others.cores()
    sink.stop()
    busy = run.cpu / run.wall
    told = mail.conditions(room, messages=n, bytes_a_message=sink.bytes // n, dkim="rsa-2048", tls=tls,
                           others_cores=others)
    figure("deliver", "messages_per_second", n / run.wall, "1/s", **told)
    figure("deliver", "cpu_per_message", run.cpu / n * 1e6, "us", cores_busy=round(busy, 2), **told)
    figure("deliver", "sink_cpu_per_message", sink.cpu / n * 1e6, "us", **told)
    return run.cpu / n * 1e6, busy, told


def bench(rig):
    # On both sides of the run, each with the cores that hato will keep busy (it keeps both): machines drift.
    cores = len(os.sched_getaffinity(0))
    before_us = signature_us(cores)
    cpu_us, busy, told = deliver(rig, "none")
    processes = max(1, round(busy))
    after_us = signature_us(processes)
    sign_us = (before_us + after_us) / 2 if processes == cores else after_us
    figure("deliver", "openssl_rsa2048_cpu_per_sign", sign_us, "us", processes=processes)
    mark("1_cpu_over_signature", cpu_us / sign_us, "ratio", "<= 1.35", processes=processes, **told)
    deliver(rig, "opportunistic")
