-- newsletter - one issue of a Japanese newsletter: HTML and text, a flyer attached, signed twice.
--
-- scripts/demo runs it against simulated receivers. By hand: make the keys once,
--   mkdir keys
--   hato keygen news.example.jp s1 --out keys/rsa.pem
--   hato keygen news.example.jp e1 --out keys/ed25519.pem --ed25519
-- then look at one mail, count, send:
--   hato message init.lua --campaign summer --to natsukimaeda1@gmail.test
--   hato run init.lua --dry-run
--   hato run init.lua
local hato = require "hato"
hato.tz = "Asia/Tokyo"

local keys = hato.args.keys or "keys"
local people = hato.args.people or "people.csv"

-- A real sender has an address of its own here, and a name that leads to it and back.
hato.source "mx1" { address = "127.0.0.1", ehlo = "mx1.news.example.jp" }

local news = hato.stream "news" {
  from = "夏祭り通信 <news@news.example.jp>",
  reply_to = "お客様窓口 <help@example.jp>",
  dkim = {
    { domain = "news.example.jp", selector = "s1", key = keys .. "/rsa.pem" },
    { domain = "news.example.jp", selector = "e1", key = keys .. "/ed25519.pem" },
  },
  bounce = "b.news.example.jp",
  unsubscribe = { url = "https://example.jp/u/{{ token }}", mailto = "unsubscribe@example.jp", one_click = true },
}

-- Mail that waits is tried again soon, because the demo is short. Real receivers want minutes:
-- the default is 5 min, 30 min, 2 h, 6 h, and giving up after 2 days.
hato.bounces { retry = { "10 s", "15 s", "1 h", give_up = "2 days" } }

-- How many connections each receiver likes.
hato.isp "docomo"    { domains = "docomo.test", connections = 8 }
hato.isp "au"        { domains = { "ezweb.test", "au.test" }, connections = 5 }
hato.isp "softbank"  { domains = { "softbank.test", "i.softbank.test" }, connections = 8 }
hato.isp "gmail"     { domains = "gmail.test", connections = 10 }
hato.isp "yahoo"     { domains = "yahoo.test", connections = 5, per_connection = 20 }
hato.isp "microsoft" { mx = "outlook.test", connections = 5 }
hato.isp "icloud"    { domains = "icloud.test", connections = 5 }
hato.isp "offices"   { mx = "mx.offices.test", connections = 3 }

hato.campaign "summer" {
  stream = news,
  to = hato.csv { people, map = { name = "氏名", company = "会社名", prefecture = "都道府県" } },
  subject = "{{ name | default: 'お客' }}様、夏祭りのご案内",
  preheader = "{{ prefecture | default: 'お近く' }}の会場と、先行予約のお知らせです",
  html = hato.file "hello.html",
  text = hato.file "hello.txt",
  attach = { { "flyer.pdf", name = "夏祭りのご案内.pdf" } },
  log = { "prefecture" },
  expire = "3 days",
}

-- A script keeps its state between calls. This counts what became of the mail; --log info shows it.
local seen = {}
hato.on("events", function(batch)
  for _, event in ipairs(batch) do seen[event.type] = (seen[event.type] or 0) + 1 end
  hato.log.info("so far", seen)
end)
