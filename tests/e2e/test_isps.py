"""Many domains, few receivers: what an isp is decides what counts together. In hato sim, so that hours cost nothing."""
import json
import subprocess

SCRIPT = """local hato = require "hato"
%s
local s = hato.stream "s" { from = "a@example.test" }
hato.campaign "c" { stream = s, to = hato.csv "people.csv", subject = "x", text = "x\\n" }
"""
BLOCK = '{ { phase = "rcpt", reply = "550 5.7.1 Messages from [192.0.2.1] weren\'t sent: on our block list (S3150)." } }'


def simulate(hato, folder, domains, isps, more="", days=2):
    """One mail to each of so many domains; isps: Lua of the world's receivers."""
    (folder / "world.lua").write_text("return { isps = {\n" + ",\n".join(isps) + "\n} }\n")
    (folder / "people.csv").write_text("email\n" + "".join(f"p@d{i}.test\n" for i in range(domains)))
    (folder / "init.lua").write_text(SCRIPT % more)
    done = subprocess.run([hato, "sim", folder / "init.lua", "--world", folder / "world.lua", "--json", "--days", str(days)],
                          capture_output=True, text=True, check=True, timeout=120)
    counts = json.loads(done.stdout.splitlines()[-1])
    assert counts["accepted"] == domains
    assert counts["accepted"] == counts["delivered"] + counts["bounced"] + counts["expired"] + counts["deferred"]
    return counts


def receiver(i, mx, more=""):
    address = f"127.{1 + i // 60000}.{i // 250 % 240}.{1 + i % 250}"
    return f'i{i} = {{ domains = {{ "d{i}.test" }}, mx = {{ "{mx}" }}, address = "{address}" {more} }}'


def microsoft(n, blocked=None):
    return [receiver(i, f"d{i}-test.mail.protection.outlook.com", f", replies = {BLOCK}" if i == blocked else "")
            for i in range(n)]


def test_383_domains_on_one_mx_set_obey_one_limit(hato, tmp_path):
    names = ", ".join(f'"d{i}.test"' for i in range(383))
    shared = [f'all = {{ domains = {{ {names} }}, mx = {{ "mx.shared.test" }}, address = "127.0.1.1" }}']
    counts = simulate(hato, tmp_path, 383, shared, 'hato.limit { by = { "isp" }, rate = "1/s" }')
    assert counts["delivered"] == 383 and 382 <= counts["seconds"] < 400
    apart = simulate(hato, tmp_path, 383, [receiver(i, f"mx.d{i}.test") for i in range(383)],
                     'hato.limit { by = { "isp" }, rate = "1/s" }')
    assert apart["delivered"] == 383 and apart["seconds"] < 60


def test_400_mx_names_under_one_pattern_obey_one_limit(hato, tmp_path):
    counts = simulate(hato, tmp_path, 400, microsoft(400), 'hato.isp "microsoft365" { rate = "1/s" }')
    assert counts["delivered"] == 400 and 399 <= counts["seconds"] < 420
    alone = simulate(hato, tmp_path, 400, microsoft(400), 'hato.isps = "none"')
    assert alone["delivered"] == 400 and alone["seconds"] < 30


def test_connections_of_an_isp_with_a_host_for_each_customer_go_round(hato, tmp_path):
    """Five connections at most, from one on; none is kept idle while other hosts of the isp wait."""
    counts = simulate(hato, tmp_path, 400, microsoft(400))
    assert counts["delivered"] == 400 and counts["seconds"] < 30


def test_one_s3150_stops_all_of_them_at_that_source(hato, tmp_path):
    rule = ('hato.isp "microsoft365" { rate = "1/s" }\n'
            'hato.bounces { { isp = "microsoft", text = "S3150", class = "blocked", least = 1,'
            ' act = hato.suspend { scope = "path", ["for"] = "4 h" } } }')
    counts = simulate(hato, tmp_path, 400, microsoft(400, blocked=200), rule)
    assert (counts["delivered"], counts["bounced"]) == (399, 1)
    assert counts["seconds"] > 4 * 3600
    alone = simulate(hato, tmp_path, 400, microsoft(400, blocked=200), 'hato.isps = "none"\n' + rule.replace(
        'hato.isp "microsoft365" { rate = "1/s" }', ""))
    assert alone["delivered"] == 399 and alone["seconds"] < 60 # each an isp of its own: nobody else is stopped


def test_ten_thousand_domains_are_all_tried_within_a_minute(hato, tmp_path):
    """More than there may be sockets: each that is free is offered on."""
    counts = simulate(hato, tmp_path, 10000, [receiver(i, f"mx.d{i}.test") for i in range(10000)])
    assert counts["delivered"] == 10000 and counts["seconds"] < 60
