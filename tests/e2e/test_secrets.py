"""Signing two messages at once takes no branch and no address from the key: memcheck, told that the key is not known,
has nothing to report; and would have."""
import os
import shutil
import subprocess

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("HATO_BUILD", os.path.join(ROOT, "build"))
REPORTED, NO_PAIRS = 9, 77

pytestmark = pytest.mark.skipif(not shutil.which("valgrind"), reason="needs the package valgrind")


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    path = tmp_path_factory.mktemp("secrets") / "rsa.pem"
    subprocess.run(["openssl", "genrsa", "-out", path, "2048"], check=True, capture_output=True)
    return path


def judge(*words):
    return subprocess.run(["valgrind", "--quiet", f"--error-exitcode={REPORTED}", os.path.join(BUILD, "rsa_secrets"),
                           *words], capture_output=True, text=True)


def test_no_branch_and_no_address_depends_on_the_key(key):
    done = judge(key)
    assert done.returncode in (0, NO_PAIRS), done.stderr[:4000]


def test_memcheck_would_have_reported_one(key):
    done = judge(key, "leak")
    assert done.returncode in (REPORTED, NO_PAIRS)
    assert done.returncode == NO_PAIRS or "depends on uninitialised value" in done.stderr
