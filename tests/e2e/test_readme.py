"""What a stranger types first: the README's script and commands, and those that open the example, work as printed."""
import csv
import re
import shutil
import subprocess


def example(tmp_path, root):
    folder = tmp_path / "newsletter"
    shutil.copytree(root / "examples" / "newsletter", folder)
    shutil.rmtree(folder / "keys", ignore_errors=True)
    return folder


def typed(hato, folder, command):
    """One line as a shell would run it, with this hato. Deliveries are left out: they ask the world's DNS."""
    words = command.split("#")[0].split()
    if words[0] == "mkdir":
        return subprocess.run(words, cwd=folder, check=True)
    assert words[0] == "hato", command
    if words[1] == "run":
        return None
    done = subprocess.run([hato, *words[1:]], cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done


def test_the_script_of_the_readme_does_what_the_readme_says(hato, root, tmp_path):
    readme, folder = (root / "README.md").read_text(), example(tmp_path, root)
    (folder / "keys").mkdir()
    (folder / "newsletter.lua").write_text(re.search(r"```lua\n(.*?)```", readme, re.S)[1])
    said = {line.split()[1]: typed(hato, folder, line.strip())
            for line in re.findall(r"^    (hato \w+ .*newsletter.lua.*|hato keygen .*)$", readme, re.M)}
    assert set(said) == {"keygen", "check", "message", "sim", "run"}
    assert "s1._domainkey.news.example.jp. IN TXT" in said["keygen"].stdout
    assert "0 of them errors" in said["check"].stdout or "nothing to find fault with" in said["check"].stdout
    assert "d=news.example.jp" in said["message"].stdout
    with open(folder / "people.csv", encoding="utf-8-sig", newline="") as rows:
        people = len(list(csv.DictReader(rows)))
    assert f"accepted {people}, delivered {people}," in said["sim"].stdout


def test_the_commands_that_open_the_example_work(hato, root, tmp_path):
    folder = example(tmp_path, root)
    lines = re.findall(r"^--   (.*)$", (folder / "init.lua").read_text(), re.M)
    assert {line.split()[1] for line in lines} == {"keys", "keygen", "message", "run"}
    for line in lines:
        typed(hato, folder, line)
