"""soak: the long tests, whole; takes an hour or more"""
import os
import subprocess
import sys
import time

from rig import ROOT, Failed, figure


def bench(rig):
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "pytest", "tests/e2e", "-q", "-rs", "-p", "no:cacheprovider",
                           f"--basetemp={rig.folder / 'pytest'}"], cwd=ROOT, env={**os.environ, "HATO_SOAK": "1"},
                          stdout=sys.stderr, check=False)
    if done.returncode:
        raise Failed("a long test failed")
    figure("soak", "seconds", time.monotonic() - began, "s", result="passed")
