"""setup: how long scripts/setup takes when nothing changed, and a build from nothing. The peers are there already."""
import os
import subprocess
import time

from rig import ROOT, figure


def seconds(*command, **options):
    began = time.monotonic()
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, **options)
    return time.monotonic() - began


def bench(rig):
    figure("setup", "nothing_changed", seconds("scripts/setup"), "s", packages="installed")
    build = rig.folder / "build"
    took = seconds("cmake", "-S", ".", "-B", build, "-G", "Ninja", "-DHATO_TESTS=OFF", env={**os.environ, "CC": "gcc"})
    took += seconds("ninja", "-C", build, "hato")
    figure("setup", "build_from_nothing", took, "s", packages="installed")
