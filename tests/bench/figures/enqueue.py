"""enqueue: a CSV until all of it is durable, the campaign due another day (mark 7)

The check is that of `missing`: whether a template would print a value that this row has not. Timed is the whole of
hato run, from its start to its exit. HATO_BENCH_ROWS=N takes in so many (1000000)."""
import mail
from rig import Failed, figure, filesystem, mark, setting


def enqueue(rig, n, missing):
    room = rig.room(f"enqueue-{missing}")
    mail.keygen(room)
    mail.people(room / "people.csv", n)
    mail.script(room, campaign=f'at = "2099-01-01 00:00", missing = "{missing}",')
    run = mail.hato_run(room, None, "--wait", "0")
    got = mail.totals(run)
    if got["accepted"] != n or got["deferred"] != n:
        raise Failed(f"of {n} rows {got['accepted']} were taken in\n{run.says()}")
    told = {"rows": n, "csv_bytes": (room / "people.csv").stat().st_size, "check": missing == "error",
            "sync": "fdatasync", "filesystem": filesystem(room)}
    figure("enqueue", "seconds", run.wall, "s", **told)
    figure("enqueue", "cpu_per_row", run.cpu / n * 1e6, "us", **told)
    return run.wall, told


def bench(rig):
    n = setting("ROWS", 1000000)
    took, told = enqueue(rig, n, "error")
    enqueue(rig, n, "empty")
    mark("7_enqueue_seconds", took, "s", "<= 4 of 1000000", **told)
