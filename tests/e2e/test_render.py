"""hato render: files in, text out; the golden cases through --batch; what it refuses."""
import json
import os
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HATO = os.path.join(os.environ.get("HATO_BUILD", os.path.join(ROOT, "build")), "hato")
GOLDEN = os.path.join(ROOT, "tests", "golden", "liquid", "cases.json")


def render(folder, *words):
    return subprocess.run([HATO, "render", *words], cwd=folder, capture_output=True, text=True)


def test_every_golden_case_through_batch(tmp_path):
    done = render(tmp_path, "--plain", "--batch", GOLDEN)
    assert done.returncode == 0, done.stderr
    with open(GOLDEN, encoding="utf-8") as file:
        cases = json.load(file)
    results = json.loads(done.stdout)
    assert [r["name"] for r in results] == [c["name"] for c in cases]
    for case, got in zip(cases, results):
        if case.get("invalid"):
            assert "error" in got, case
        else:
            assert got.get("result") in (case["results"] if "results" in case else [case["result"]]), (case, got)


def test_html_is_escaped_unless_plain(tmp_path):
    (tmp_path / "t.html").write_text("<p>{{ name }}</p>\n")
    (tmp_path / "d.json").write_text('{"name": "A & B\\u0000"}')
    assert render(tmp_path, "t.html", "--data", "d.json").stdout == "<p>A &amp; B\0</p>\n"
    assert render(tmp_path, "t.html", "--data", "d.json", "--plain").stdout == "<p>A & B\0</p>\n"


def test_partials_are_found_by_name_with_or_without_ending_and_in_folders(tmp_path):
    (tmp_path / "p" / "shared").mkdir(parents=True)
    (tmp_path / "p" / "shared" / "foot.html").write_text("foot {{ n }}")
    (tmp_path / "p" / "head.liquid").write_text("head")
    (tmp_path / "t").write_text("{% include 'head' %} {% include 'head.liquid' %} {% render 'shared/foot', n: 1 %}")
    assert render(tmp_path, "t", "--partials", "p").stdout == "head head foot 1"


def test_a_missing_value_is_empty_unless_strict(tmp_path):
    (tmp_path / "t").write_text("Dear\n{{ name }},")
    assert render(tmp_path, "t").stdout == "Dear\n,"
    done = render(tmp_path, "t", "--strict")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "hato render: t:2:1: 'name' is missing and has no default\n"


def test_misuse_exits_2_and_says_what_is_wrong(tmp_path):
    (tmp_path / "t").write_text("{{ name | upcas }}")
    (tmp_path / "d.json").write_text("[1,")
    for words, says in (((), "one template"), (("t",), "did you mean 'upcase'?"), (("none",), "none"),
                        (("t", "--data", "d.json"), "d.json:1:"), (("t", "--strct"), "--strict"),
                        (("--batch", "d.json"), "d.json:1:")):
        done = render(tmp_path, *words)
        assert done.returncode == 2, (words, done)
        assert says in done.stderr, done.stderr
        assert done.stdout == ""
