"""spool: what a 100 KB campaign writes to the journal for each recipient, all told, after completion (mark 11)

Counted twice: what the journal's files grew by, those of compaction and those already gone among them; and what the
kernel says that the process gave to the disk, in which a page counts again each time it is synced with more in it. The
mark is of the first. HATO_BENCH_MESSAGES=N sends so many (20000)."""
import os
import random

import mail
from figures.big import ATTACHED
from rig import Sampler, figure, io_of, mark, setting


class Journal:
    """The files of a state folder by what they are (a number on disk), each at the greatest size it was seen with."""

    def __init__(self, folder, pid):
        self.folder, self.pid, self.sizes, self.to_disk = folder, pid, {}, 0

    def look(self):
        self.to_disk = io_of(self.pid, "write_bytes")
        for path, _, names in os.walk(self.folder):
            for name in names:
                if name.startswith(("names-", "recipients-", "events-")):
                    try:
                        stat = os.stat(os.path.join(path, name))
                    except FileNotFoundError:
                        continue
                    self.sizes[name, stat.st_ino] = max(self.sizes.get((name, stat.st_ino), 0), stat.st_size)
        return self.bytes()

    def bytes(self):
        return sum(self.sizes.values())


def bench(rig):
    n = setting("MESSAGES", 20000)
    room = rig.room("spool")
    mail.keygen(room)
    mail.people(room / "people.csv", n)
    (room / "flyer.pdf").write_bytes(b"%PDF-1.4\n" + random.Random(1).randbytes(ATTACHED))
    mail.script(room, campaign='attach = { "flyer.pdf" },')
    sink = mail.Sink(rig)
    run = mail.hato_run(room, sink, "--wait", "0")
    journal = Journal(room / "state", run.pid)
    sampler = Sampler(journal.look)
    mail.delivered(run, n)
    sampler.stop()
    sink.stop()
    try:
        journal.look()
    except FileNotFoundError:  # the process is gone, and what it gave to the disk was read before
        pass
    told = mail.conditions(room, messages=n, bytes_a_message=sink.bytes // n, dkim="rsa-2048", tls="none",
                           row_bytes=round((room / "people.csv").stat().st_size / n, 1))
    figure("spool", "given_to_disk_per_recipient", journal.to_disk / n, "bytes", **told)
    mark("11_spool_bytes_per_recipient", journal.bytes() / n, "bytes", "<= 600", **told)
