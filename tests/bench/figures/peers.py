"""peers: end to end, sink included: hato beside Postfix with OpenDKIM, Postfix alone, Haraka (marks 3, 4, 5)

Each relays 10 KB messages that smtp-source hands it; how they are set up is in tests/bench/relays.py. A peer's CPU is
its own: of smtp-source and of the sink it is not. HATO_BENCH_MESSAGES=N makes hato send so many (40000) and the peers
in proportion."""
import mail
from relays import Delivered, Haraka, Postfix, Relayed
from rig import figure, mark, setting

# Each for half a minute or so of what it did where this was written.
PEERS = [("postfix_opendkim", lambda rig, sink: Postfix(rig, sink, sign=True), 0.15, "3_postfix_opendkim_ratio",
          ">= 15"),
         ("postfix", lambda rig, sink: Postfix(rig, sink, sign=False), 0.5, "4_postfix_ratio", ">= 5"),
         ("haraka", Haraka, 0.2, "5_haraka_ratio", ">= 8")]


def figures_of(name, run):
    figure("peers", f"{name}_messages_per_second", run.rate, "1/s", **run.conditions)
    figure("peers", f"{name}_cpu_per_message", run.cpu_us, "us", **run.conditions)
    figure("peers", f"{name}_sink_cpu_per_message", run.sink_cpu_us, "us", **run.conditions)


def bench(rig):
    n = setting("MESSAGES", 40000)
    room = rig.room("hato")
    mail.keygen(room)
    mail.people(room / "people.csv", n)
    mail.script(room)
    ours = Delivered(rig, room, n)
    figures_of("hato", ours)
    for name, peer, share, mark_name, wanted in PEERS:
        theirs = Relayed(rig, peer, max(100, int(n * share)))
        figures_of(name, theirs)
        mark(mark_name, ours.rate / theirs.rate, "ratio", wanted, hato_messages_per_second=round(ours.rate, 1),
             peer_messages_per_second=round(theirs.rate, 1), **theirs.conditions)
