"""liquid: a newsletter's body of 10 KB, 12 values, one loop of 5, four filters: a render by hato, beside liquidjs

Both have parsed the template before, and give the same bytes. Once with values escaped as hato does it for HTML
(liquidjs: outputEscape), once plain. HATO_BENCH_SECONDS=N renders for so long (3)."""
import json
import os

from rig import ROOT, Failed, Process, figure, mark, setting

# 12 outputs: nine of the person, three in the loop. Filters: default, upcase, date, truncate.
HEAD = """<html><body><h1>Dear {{ name | default: "reader" }},</h1>
<p>your number is {{ number }}, your level {{ level | upcase }}, and you have {{ points }} points until
{{ until | date: "%Y-%m-%d" }}. News for {{ city }} from {{ shop }}:</p>
"""
ITEM = """<table>{% for item in items %}<tr><td>{{ item.title | truncate: 30 }}</td><td>{{ item.price }}</td>
<td><a href="https://bench.test/">{{ item.stock }} left</a></td></tr>{% endfor %}</table>
"""
FOOT = """<p>{{ sender }}, {{ address }}</p></body></html>
"""
PARAGRAPH = """<p style="margin:0 0 12px 0;font-family:sans-serif;font-size:14px;line-height:20px;color:#333333">This is
a paragraph of a newsletter, of the length that such paragraphs have, with a <b>word</b> that stands out in it, and with
a <a href="https://bench.test/articles/paragraph" style="color:#0055aa">link to what it speaks of</a>, as there are some
in every newsletter that anybody has ever opened.</p>
"""
DATA = {"name": "Taro Example", "number": 10042, "level": "silver", "points": 1280, "until": "2026-07-01 10:00",
        "city": "Nagoya", "shop": "the shop in your street", "sender": "Example Company",
        "address": "1-2-3 Example Street", "items": [
            {"title": f"An article that has number {i} and a title of some length", "price": 1000 + 150 * i,
             "stock": 3 * i + 1} for i in range(5)]}


def bench(rig):
    room, seconds = rig.room("liquid"), setting("SECONDS", 3)
    half = PARAGRAPH * ((10240 - len(HEAD + ITEM + FOOT)) // len(PARAGRAPH) // 2)
    (room / "body.liquid").write_text(HEAD + half + ITEM + half + FOOT)
    (room / "data.json").write_text(json.dumps(DATA))
    env = {**os.environ, "NODE_PATH": str(ROOT / "build" / "bench" / "node_modules"), "TZ": "UTC"}
    ours = {}
    for manner in ("html", "plain"):
        words = [room / "body.liquid", room / "data.json", seconds]
        plain = ["plain"] if manner == "plain" else []
        us = {}
        for name, program in (("hato", [ROOT / "build" / "liquid_rate"]),
                              ("liquidjs", ["node", ROOT / "tests" / "bench" / "liquid_rate.js"])):
            run = Process([*program, *words, room / name, *plain], room, env=env).done()
            us[name] = float(run.words())
        result = (room / "hato").read_bytes()
        if result != (room / "liquidjs").read_bytes():
            raise Failed("hato and liquidjs do not render the same")
        told = {"template_bytes": (room / "body.liquid").stat().st_size, "result_bytes": len(result), "escape": manner,
                "threads": 1}
        figure("liquid", "hato_render", us["hato"], "us", **told)
        figure("liquid", "liquidjs_render", us["liquidjs"], "us", **told,
               liquidjs=json.loads((ROOT / "build/bench/node_modules/liquidjs/package.json").read_text())["version"])
        figure("liquid", "liquidjs_over_hato", us["liquidjs"] / us["hato"], "ratio", **told)
        ours[manner] = us["hato"], told
    mark("liquid_render", ours["html"][0], "us", "<= 10", **ours["html"][1])
