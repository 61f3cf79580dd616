"""What scripts/bench starts: runs the named benchmarks, or all but the long ones, one after the other."""
import importlib
import sys

from rig import Failed, Rig, say

ALL = ["setup", "deliver", "ed25519", "peers", "big", "enqueue", "queued", "spool", "steady", "turns", "lanes",
       "pacing", "liquid"]


def main():
    rig, code = Rig(), 0
    try:
        for name in sys.argv[1:] or ALL:
            say(name)
            try:
                importlib.import_module(f"figures.{name}").bench(rig)
            except Failed as why:
                say(f"{name}: {why}")
                code = 1
    finally:
        rig.end()
    return code


sys.exit(main())
