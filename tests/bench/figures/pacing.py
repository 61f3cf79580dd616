"""pacing: how evenly mails arrive at the receiver, at 1, 7, 100 and 3,000 a second

The times are those of the sink's log, in whole milliseconds, without the first second, in which connections open.
HATO_BENCH_SECONDS=N measures each rate for so long (30, 20, 15 and 10)."""
import datetime
import json
import math

import mail
from rig import Others, figure, setting

RATES = {1: 30, 7: 20, 100: 15, 3000: 10}  # a second: seconds
PERCENTILES = (50, 90, 99, 99.9)


def arrivals(log):
    """Milliseconds of every message, from the first one on."""
    times = sorted(datetime.datetime.fromisoformat(json.loads(line)["time"].replace("Z", "+00:00")).timestamp()
                   for line in log.read_text().splitlines())
    return [round((at - times[0]) * 1000) for at in times]


def percentile(ordered, share):
    """The least value that so many of 100 are not above."""
    return ordered[max(0, math.ceil(len(ordered) * share / 100) - 1)]


def most_within(times, window_ms):
    most = first = 0
    for last, at in enumerate(times):
        while at - times[first] >= window_ms:
            first += 1
        most = max(most, last - first + 1)
    return most


def pace(rig, rate, seconds):
    n = rate * (seconds + 1) + 1
    room = rig.room(f"pacing-{rate}")
    mail.keygen(room, algorithm="ed25519")
    mail.people(room / "people.csv", n)
    mail.script(room, head=f'hato.limit {{ by = {{ "isp" }}, rate = "{rate}/s" }}')
    sink, others = mail.Sink(rig, log=room / "sink.log"), Others()
    mail.delivered(mail.hato_run(room, sink, "--wait", "1 min"), n)
    busy = others.cores()
    sink.stop()
    times = [at for at in arrivals(room / "sink.log") if at >= 1000]
    gaps = sorted(after - before for before, after in zip(times, times[1:]))
    told = {"rate": f"{rate}/s", "seconds": seconds, "messages": len(times), "connections": mail.CONNECTIONS,
            "dkim": "ed25519", "receiver": "hato sink, same machine", "others_cores": busy}
    figure("pacing", "messages_per_second", len(gaps) * 1000 / (times[-1] - times[0]), "1/s", **told)
    figure("pacing", "most_in_a_second", most_within(times, 1000), "messages", **told)
    figure("pacing", "gap_mean", (times[-1] - times[0]) / len(gaps), "ms", wanted=round(1000 / rate, 3), **told)
    for share in PERCENTILES:
        figure("pacing", f"gap_p{share}", percentile(gaps, share), "ms", **told)
    figure("pacing", "gap_max", gaps[-1], "ms", **told)


def bench(rig):
    for rate, seconds in RATES.items():
        pace(rig, rate, setting("SECONDS", seconds))
