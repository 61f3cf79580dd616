"""rig - what every benchmark stands on: figures, folders, processes that end with it, their CPU and their memory."""
import ctypes
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
HATO = ROOT / "build" / "hato"
CORES = 2  # the marks are of two cores; a larger machine lends that many
PR_SET_CHILD_SUBREAPER = 36
TICKS = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """A run that did not do what it measures: no figure comes of it."""


def setting(name, default):
    """HATO_BENCH_NAME of the environment, a number."""
    return int(os.environ.get(f"HATO_BENCH_{name}", default))


def commit():
    said = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty", "--exclude=*"], capture_output=True,
                          text=True, check=False)
    return said.stdout.strip() or "none"


def figure(bench, name, value, unit, **conditions):
    """One line of JSON. Value: three or four places are what a run can tell."""
    line = {"bench": bench, "figure": name, "value": round(value, 3 if abs(value) < 100 else 1), "unit": unit,
            "cores": len(os.sched_getaffinity(0)), **conditions, "commit": commit()}
    print(json.dumps(line, ensure_ascii=False, separators=(",", ":")), flush=True)


def mark(name, value, unit, wanted, **conditions):
    """A figure that a mark speaks of, with what the mark wants; whether that is enough is for the reader to say."""
    figure("mark", name, value, unit, wanted=wanted, **conditions)


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


def filesystem(folder):
    return subprocess.run(["stat", "-f", "-c", "%T", folder], capture_output=True, text=True, check=True).stdout.strip()


def free_port():
    """A port that is free for TCP on 127.0.0.1 and for UDP on 127.0.0.2."""
    for _ in range(50):
        with socket.socket() as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            try:
                udp.bind(("127.0.0.2", tcp.getsockname()[1]))
            except OSError:
                continue
            return tcp.getsockname()[1]
    raise Failed("no free port")


# --- what the kernel says of a process ---

def cpu_of(pid, thread=None):
    """Seconds of CPU that a process, or one thread of it, has used; threads that ended are not in it."""
    threads = [thread] if thread else os.listdir(f"/proc/{pid}/task")
    ns = 0
    for tid in threads:
        try:
            ns += int(pathlib.Path(f"/proc/{pid}/task/{tid}/schedstat").read_text().split()[0])
        except FileNotFoundError:
            pass
    return ns / 1e9


def _stat(pid):
    """(parent, seconds of CPU with the children it has waited for), or None where there is no such process."""
    try:
        words = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return int(words[1]), sum(map(int, words[11:15])) / TICKS


def tree_cpu(root):
    """Seconds of CPU of a process and of all below it, those that ended too."""
    parents, total = {}, 0
    stats = {int(entry): stat for entry in os.listdir("/proc") if entry.isdigit() and (stat := _stat(entry))}
    for pid, (parent, _) in stats.items():
        parents.setdefault(parent, []).append(pid)
    todo = [root]
    while todo:
        pid = todo.pop()
        total += stats[pid][1] if pid in stats else 0
        todo += parents.get(pid, [])
    return total


class Others:
    """How many cores went to anybody but us since this was made: a figure taken while that is much is worth little."""

    def __init__(self):
        self.began, self.busy, self.ours = time.monotonic(), self._busy(), tree_cpu(os.getpid())

    @staticmethod
    def _busy():
        # user nice system idle iowait irq softirq steal
        words = list(map(int, pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]))
        return (sum(words) - words[3] - words[4]) / TICKS

    def cores(self):
        took = self._busy() - self.busy - (tree_cpu(os.getpid()) - self.ours)
        return round(max(0, took) / (time.monotonic() - self.began), 2)


def rss_anon(pid):
    """Bytes of memory of its own: neither files nor what it shares."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise Failed("/proc says nothing of RssAnon")


def io_of(pid, what):
    for line in pathlib.Path(f"/proc/{pid}/io").read_text().splitlines():
        if line.startswith(what + ":"):
            return int(line.split()[1])
    raise Failed(f"/proc says nothing of {what}")


def children_of(parent):
    return [int(entry) for entry in os.listdir("/proc")
            if entry.isdigit() and (stat := _stat(entry)) and stat[0] == parent]


class Process:
    """A program in the background, its words in files. cpu and wall are there once it has ended; cpu has all
    that it waited for in it."""

    running = set()

    def __init__(self, command, folder, name=None, cwd=None, env=None):
        self.command = [str(word) for word in command]
        self.name = name or pathlib.Path(self.command[0]).name
        self.out, self.err = folder / f"{self.name}.out", folder / f"{self.name}.err"
        with open(self.out, "wb") as out, open(self.err, "wb") as err:
            self.started = time.monotonic()
            self.child = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=cwd,
                                          env=env)
        self.pid = self.child.pid
        Process.running.add(self.pid)
        self.code = self.cpu = self.wall = None

    def _ended(self, status, usage):
        self.wall = time.monotonic() - self.started
        Process.running.discard(self.pid)
        self.code = self.child.returncode = os.waitstatus_to_exitcode(status)
        self.cpu = usage.ru_utime + usage.ru_stime

    def is_running(self):
        if self.code is None:
            pid, status, usage = os.wait4(self.pid, os.WNOHANG)
            if pid:
                self._ended(status, usage)
        return self.code is None

    def wait(self):
        if self.code is None:
            _, status, usage = os.wait4(self.pid, 0)
            self._ended(status, usage)
        return self.code

    def done(self):
        """Wait; it must have gone well."""
        if self.wait():
            raise Failed(f"{' '.join(self.command)} ended with {self.code}\n{self.says()}")
        return self

    def stop(self, signum=signal.SIGTERM):
        if self.is_running():
            os.kill(self.pid, signum)
        return self.wait()

    def words(self):
        return self.out.read_text(errors="replace")

    def says(self):
        return (self.words() + self.err.read_text(errors="replace"))[-4000:]

    def wait_for(self, text, seconds=30):
        """Until it has said this."""
        end = time.monotonic() + seconds
        while text not in self.says():
            if not self.is_running() or time.monotonic() > end:
                raise Failed(f"{' '.join(self.command)} never said \"{text}\"\n{self.says()}")
            time.sleep(0.02)
        return self


def end_strays():
    """Ends every child of ours that no Process stands for: what a server left behind when it ended."""
    end = time.monotonic() + 5
    while strays := set(children_of(os.getpid())) - Process.running:
        for pid in strays:
            try:
                os.kill(pid, signal.SIGTERM if time.monotonic() < end else signal.SIGKILL)
                os.waitpid(pid, os.WNOHANG)
            except (ProcessLookupError, ChildProcessError):
                pass
        time.sleep(0.05)


class Rig:
    """The folder of one run of the benches, and the end of everything that was started in it."""

    def __init__(self):
        # What a program of ours leaves behind (Postfix's master has children) becomes our child, and ends with us.
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="hato-bench."))
        self.folder.chmod(0o711)  # peers that give up root find their way through
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(signum, lambda number, frame: sys.exit(128 + number))

    def room(self, name):
        """An empty folder."""
        room = self.folder / name
        shutil.rmtree(room, ignore_errors=True)
        room.mkdir(parents=True, mode=0o755)
        return room

    def end(self):
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(signum, signal.SIG_IGN)
        Process.running.clear()
        end_strays()
        shutil.rmtree(self.folder, ignore_errors=True)


class Sampler:
    """Calls what() every so many seconds from a thread: samples is a list of (seconds since start, value)."""

    def __init__(self, what, every=0.02):
        self.what, self.every, self.samples, self.over = what, every, [], threading.Event()
        self.began = time.monotonic()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self.over.wait(self.every):
            try:
                self.samples.append((time.monotonic() - self.began, self.what()))
            except (OSError, Failed):  # it has ended
                return

    def stop(self):
        self.over.set()
        self.thread.join()
        return self.samples
