#!/usr/bin/env luajit
-- people.lua - writes a CSV of invented people, the way an office exports it: a byte order mark, CRLF, Japanese
-- headers. The same seed gives the same people.
--
--   luajit people.lua [COUNT [SEED]] > people.csv
local count, seed = tonumber(arg[1]) or 10000, tonumber(arg[2]) or 1

-- The minimal standard generator of Park and Miller: the same numbers on every machine.
local state = seed % 2147483646 + 1
local function random(n) -- 1 … n
  state = state * 48271 % 2147483647
  return state % n + 1
end

local function pick(list)
  return list[random(#list)]
end

-- Takes a list of { weight, value }.
local function weighted(list)
  local sum = 0
  for _, one in ipairs(list) do sum = sum + one[1] end
  local at = random(sum)
  for _, one in ipairs(list) do
    at = at - one[1]
    if at <= 0 then return one[2] end
  end
end

local function words(text)
  local list = {}
  for word in text:gmatch "%S+" do list[#list + 1] = word end
  return list
end

-- kanji/how an address spells it
local families = words [[
  青山/aoyama 赤木/akagi 秋田/akita 石井/ishii 泉/izumi 市川/ichikawa 岩本/iwamoto 上田/ueda 江口/eguchi 大塚/otsuka
  岡部/okabe 小野/ono 片桐/katagiri 川口/kawaguchi 木下/kinoshita 久保/kubo 黒田/kuroda 小林/kobayashi 近藤/kondo
  斎藤/saito 坂本/sakamoto 佐々木/sasaki 島田/shimada 白石/shiraishi 鈴木/suzuki 関/seki 髙橋/takahashi 竹内/takeuchi
  田村/tamura 千葉/chiba 土屋/tsuchiya 寺田/terada 中島/nakajima 永井/nagai 西村/nishimura 野口/noguchi 橋本/hashimoto
  浜﨑/hamasaki 東/higashi 平野/hirano 藤井/fujii 星野/hoshino 前田/maeda 松尾/matsuo 三浦/miura 村上/murakami
  森/mori 山崎/yamazaki 吉田/yoshida 渡邊/watanabe]]
local givens = words [[
  愛/ai 明/akira 綾/aya 一郎/ichiro 恵/megumi 薫/kaoru 和也/kazuya 絹/kinu 浩二/koji 早苗/sanae 茂/shigeru 翔/sho
  進/susumu 直美/naomi 夏樹/natsuki 信/makoto 花子/hanako 春香/haruka 久/hisashi 真由/mayu 美咲/misaki 満/mitsuru
  優/yu 由紀/yuki 良/ryo 玲/rei]]
local prefectures = words [[
  北海道 青森県 岩手県 宮城県 秋田県 山形県 福島県 茨城県 栃木県 群馬県 埼玉県 千葉県 東京都 神奈川県 新潟県 富山県
  石川県 福井県 山梨県 長野県 岐阜県 静岡県 愛知県 三重県 滋賀県 京都府 大阪府 兵庫県 奈良県 和歌山県 鳥取県 島根県
  岡山県 広島県 山口県 徳島県 香川県 愛媛県 高知県 福岡県 佐賀県 長崎県 熊本県 大分県 宮崎県 鹿児島県 沖縄県]]
local company_names = words "青葉 若葉 みなと 日の出 川辺 椿 あおぞら 三つ星 ひかり 大和田 さくら 北斗"
local company_kinds = words "商事 工業 印刷 食品 文具 運輸 設計 電機 農園 書店"

local domains = {
  { 280, "gmail.test" }, { 180, "docomo.test" }, { 140, "yahoo.test" }, { 70, "ezweb.test" },
  { 50, "au.test" },
  { 50, "softbank.test" }, { 40, "i.softbank.test" }, { 70, "icloud.test" }, { 20, "outlook.test" },
  { 20, "hotmail.test" }, { 5, "live.test" }, { 18, "aoba.test" }, { 15, "wakaba.test" }, { 12, "minato.test" },
  { 10, "hinode.test" }, { 8, "kawabe.test" }, { 6, "tsubaki.test" },
  { 3, "gmial.test" }, { 2, "closed.test" }, { 1, "down.test" },
}
-- The carriers once let people choose what RFC 5321 does not: dots in a row, a dot at the end.
local carriers = { ["docomo.test"] = true, ["ezweb.test"] = true }
local no_addresses = { "%s", "%s@", "@%s.test", "%s@@gmail.test", "%s@gmail,test", "%s @au.test", "%s@docomo..test" }

local function address_of(family, given, number)
  if random(250) == 1 then return pick(no_addresses):format(given .. number) end
  local domain = weighted(domains)
  local form = "%s.%s%d"
  if carriers[domain] and random(40) == 1 then
    form = pick { "%s..%s%d", "%s-%s%d." }
  else
    form = pick { form, "%s_%s%d", "%s%s%d", "%s-%s.%d" }
  end
  return form:format(given, family, number) .. "@" .. domain
end

local function company()
  local at = random(10)
  if at > 6 then return "" end
  local name = pick(company_names) .. pick(company_kinds)
  if at == 1 then return "有限会社" .. name end
  if at == 2 then return name .. "株式会社" .. "\r\n" .. pick(prefectures) .. "支店" end
  return "株式会社" .. name
end

local function field(text)
  if text:find '[",\r\n]' then return '"' .. text:gsub('"', '""') .. '"' end
  return text
end

local function row(...)
  local fields = { ... }
  for i, text in ipairs(fields) do fields[i] = field(text) end
  io.write(table.concat(fields, ","), "\r\n")
end

io.write "\239\187\191" -- the byte order mark of UTF-8
row("会員番号", "氏名", "会社名", "都道府県", "メールアドレス")
for number = 1, count do
  local family, spelled = pick(families):match "(.*)/(.*)"
  local given, spelled_given = pick(givens):match "(.*)/(.*)"
  row(("%06d"):format(number), family .. " " .. given, company(), pick(prefectures),
    address_of(spelled, spelled_given, number))
end
