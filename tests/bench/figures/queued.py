"""queued: ten million queued over 50,000 domains: memory, the start, and the rate with so many (marks 8, 9, 10)

First the people are taken in by a run whose campaign is due another day; its memory is looked at. Then a second run,
for which the day has come and whose CSV has nobody new, starts with all of them in its journal and delivers to one
receiver for all domains. The same is done with 100,000 for comparison. HATO_BENCH_QUEUED=N makes it fewer (10000000),
HATO_BENCH_SECONDS=N is for how long each rate is taken (20: the few must not be gone before)."""
import signal
import time

import mail
from rig import Failed, Others, figure, filesystem, mark, rss_anon, setting

DOMAINS = 50000
FEW = 100000
LATER, NOW = "at=2099-01-01 00:00", "at=2020-01-01 00:00"


def take_in(rig, room, n):
    """RssAnon of a run that has taken in n people and waits for their day. Without --json: it says when they are in."""
    mail.people(room / "people.csv", n, DOMAINS)
    run = mail.hato_run(room, None, "--wait", "forever", "--set", LATER, json=False)
    run.wait_for(f"bench: 0 known, {n:,} new", 600)
    time.sleep(1)
    used = rss_anon(run.pid)
    took = time.monotonic() - run.started
    run.stop(signal.SIGINT)
    return used, took


def prepare(rig, name, n):
    room = rig.room(name)
    mail.keygen(room)
    mail.script(room, head='local at = hato.args.at', campaign="at = at,")
    used, took = take_in(rig, room, n)
    return room, used, took


class Delivery:
    """A run with n in its journal: seconds to the first mail, memory then, and mails a second after it."""

    def __init__(self, rig, room, n):
        mail.people(room / "people.csv", 0)
        seconds = setting("SECONDS", 20)
        sink, others = mail.Sink(rig, world=mail.ONE_HOST), Others()
        run = mail.hato_run(room, sink, "--wait", "0", "--set", NOW)
        begin = None
        while begin is None or time.monotonic() < begin + seconds:
            if not run.is_running():
                raise Failed(f"hato run ended early\n{run.says()}")
            now, seen = time.monotonic(), sink.bytes_read()
            sink.curve.append((now, seen))
            if begin is None and seen > mail.MAIL_BYTES:
                begin, self.rss = now, rss_anon(run.pid)
            time.sleep(0.02)
        self.others = others.cores()
        run.stop(signal.SIGINT)
        sink.curve.append((time.monotonic(), sink.bytes_read()))
        sink.stop()
        self.first_s = sink.first_at() - run.started
        # The rate is of the time behind the first tenth, in which connections are made.
        self.rate = sink.rate(begin + seconds / 10, begin + seconds)
        self.seconds = seconds
        left = mail.totals(run)["deferred"]
        if left + sink.messages != n:
            raise Failed(f"of {n} people {sink.messages} have their mail and {left} wait\n{run.says()}")


def bench(rig):
    n = setting("QUEUED", 10000000)
    told = {"queued": n, "domains": DOMAINS, "dkim": "rsa-2048", "tls": "none", "sync": "fdatasync",
            "page_cache": "warm"}

    room, base, _ = prepare(rig, "queued-one", 1)
    room, used, took = prepare(rig, "queued", n)
    told["filesystem"] = filesystem(room)
    figure("queued", "rss_anon_of_one", base / 1e6, "MB", **told)
    figure("queued", "rss_anon_of_all", used / 1e6, "MB", **told)
    figure("queued", "taken_in_after", took, "s", **told)
    many = Delivery(rig, room, n)
    figure("queued", "rss_anon_after_restart", many.rss / 1e6, "MB", **told)
    figure("queued", "messages_per_second", many.rate, "1/s", **told, seconds=many.seconds, others_cores=many.others)
    room, _, _ = prepare(rig, "queued-few", FEW)
    few = Delivery(rig, room, FEW)
    figure("queued", "messages_per_second_of_few", few.rate, "1/s", **{**told, "queued": FEW}, seconds=few.seconds,
           others_cores=few.others)
    figure("queued", "start_to_first_delivery_of_few", few.first_s, "s", **{**told, "queued": FEW})
    mark("8_rss_anon_per_queued", (max(used, many.rss) - base) / n, "bytes", "<= 110 at 10000000", **told)
    mark("9_start_to_first_delivery", many.first_s, "s", "<= 10 at 10000000", people_file="nobody new",
         others_cores=many.others, **told)
    mark("10_rate_with_many_over_few", many.rate / few.rate, "ratio", ">= 0.9 at 10000000", few=FEW,
         others_cores=max(many.others, few.others), **told)
