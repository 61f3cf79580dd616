"""hato keygen: what it writes, what it prints, what it refuses."""
import os
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HATO = os.path.join(os.environ.get("HATO_BUILD", os.path.join(ROOT, "build")), "hato")


def keygen(folder, *words):
    return subprocess.run([HATO, "keygen", *words], cwd=folder, capture_output=True, text=True)


def test_default_name_is_selector_and_domain_and_only_the_owner_can_read_it(tmp_path):
    done = keygen(tmp_path, "example.jp", "s1")
    assert done.returncode == 0
    assert (tmp_path / "s1.example.jp.pem").stat().st_mode & 0o777 == 0o600
    assert done.stdout.startswith('s1._domainkey.example.jp. IN TXT "v=DKIM1; k=rsa; p=')
    assert done.stdout.count("\n") == 1


def test_an_existing_file_is_never_overwritten(tmp_path):
    key = tmp_path / "key.pem"
    key.write_text("precious")
    done = keygen(tmp_path, "example.jp", "s1", "--out", "key.pem")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "key.pem" in done.stderr
    assert key.read_text() == "precious"


def test_misuse_exits_2_and_says_what_is_wrong(tmp_path):
    for words, says in ((("example.jp",), "a domain and a selector"), (("exa mple", "s1"), '"exa mple" is not a domain'),
                        (("example.jp", "s;1"), '"s;1" is not a DKIM selector'), (("a.jp", "s1", "--ed2551"), "--ed25519")):
        done = keygen(tmp_path, *words)
        assert done.returncode == 2
        assert says in done.stderr, done.stderr
    assert os.listdir(tmp_path) == []


def test_a_folder_that_is_not_there_is_named(tmp_path):
    done = keygen(tmp_path, "example.jp", "s1", "--out", "none/key.pem")
    assert done.returncode == 1
    assert "none/key.pem" in done.stderr
