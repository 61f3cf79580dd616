---@meta
-- Written by scripts/gen-docs from lua/hato/api.lua; change that file instead.

---@class hato.Stream
---@class hato.Source
---@class hato.Pool
---@class hato.File
---@class hato.Csv

---@class hato
local hato = {}

---Time zone of `at`, os.date and os.time: `hato.tz = "Asia/Tokyo"`.
---@type string
hato.tz = "UTC"

---@class hato.StreamOptions
---@field from string `Name <address>`; the name may hold Liquid.
---@field dkim? table Keys, each `{ domain = …, selector = …, key = "path.pem" }`. Every mail is signed with all of them.
---@field bounce? string Domain of the return path, one address a mail (VERP). Without it the From address is used and late bounces go unread.
---@field unsubscribe? table `{ url = …, mailto = …, one_click = true }`: List-Unsubscribe, Liquid with `{{ token }}`.
---@field list_id? string List-Id.
---@field reply_to? string Reply-To of every mail that gives no other.
---@field pool? hato.Pool|string Which sources it sends from.
---@field priority? "urgent"|"normal"|"bulk" Which waiting mail goes first.
---@field weight? integer Share among streams of one priority, 1 to 1000.
---@field tls? "none"|"opportunistic"|"require" Holds for all its mail; an isp may ask for more.
---@field charset? "utf-8"|"iso-2022-jp" Of its mail. ISO-2022-JP has Windows's characters too (CP50221): ① ㈱ 髙, half-width kana.
---@field unmappable? "utf-8"|"fold"|"geta"|"error" What becomes of a mail with characters that ISO-2022-JP does not have (🎉 𠮷). `utf-8`: the whole mail is UTF-8, nothing is lost. `fold`: what plain JIS X 0208 can say is written in it, for the oldest readers, where CP50221 would have it too (ｶﾞ→ガ, ①→(1), ㈱→(株), Ⅲ→III, é→e; 髙 stays 髙), the rest is 〓. `geta`: 〓. `error`: a bad row. Events count them as `unmappable`, and so does the report.
---@field flowed? boolean Text leaves as format=flowed; delsp=yes (RFC 3676): wrapped, and put together again by readers that know it.

---Declares a stream: one sending reputation, with its From domain, keys and sources.
---@param name string
---@return fun(options: hato.StreamOptions): hato.Stream
function hato.stream(name) end

---@class hato.SourceOptions
---@field address string IPv4 or IPv6 address of this machine.
---@field ehlo string The name it says in EHLO.

---Declares a local address to send from. Without any, IPv4 and the host's name are used.
---@param name string
---@return fun(options: hato.SourceOptions): hato.Source
function hato.source(name) end

---Declares a set of sources, each with a weight that divides what they could take now.
---@param name string
---@return fun(options: table): hato.Pool
function hato.pool(name) end

---@class hato.IspOptions
---@field mx? string|string[] Names of its mail hosts: `google.com` with all below it, `*.example.jp` only those below. A match here beats one of domains.
---@field domains? string|string[] The same, of the recipient's domain.
---@field connections? integer At once, for each source, 1 to 1000.
---@field per_connection? integer Mails before a connection is closed.
---@field rate? string Mails, for each source: `"1440/h"`, `"40/s"`, `"500/d"`, at most 10,000 a second. They go evenly, and no window of that length ever holds more, also across restarts.
---@field burst? integer How many of rate may go at once after a pause.
---@field recipients? string The same, of recipients; a mail has one.
---@field new_connections? string How often each source may open one.
---@field tls? "none"|"opportunistic"|"require" Holds where the stream asks for less.
---@field family? "ipv4"|"ipv6"|"both" Where IPv6 is used, a source with an IPv6 address is needed.

---Names a receiver and its limits. The same name again changes only the options it gives.
---@param name string
---@return fun(options: hato.IspOptions)
function hato.isp(name) end

---@class hato.LimitOptions
---@field by table What is counted apart, any of `"stream"`, `"campaign"`, `"source"`, `"pool"`, `"isp"`, `"domain"` (the recipient's) and `"mx"` (the set of its mail hosts). `{ "isp" }` is one limit for each receiver, `{}` one for all mail. Mail without such a thing (hato.send has no campaign) is not counted.
---@field rate? string Mails: `"40/s"`, `"1440/h"`, `"500/d"`, at most 10,000 a second.
---@field burst? integer How many of rate may go at once after a pause.
---@field recipients? string The same, of recipients; a mail has one.
---@field connections? integer Open at once. By source and isp alone.
---@field new_connections? string How often one is opened. By source and isp alone.

---Limits what goes together, beside what each isp allows. Every limit that applies must have room for a mail; what waits for one costs nothing and loses no attempt.
---@param options hato.LimitOptions
function hato.limit(options) end

---@class hato.BouncesOptions
---@field retry? table Waits after the first, second … failed attempt; the last one repeats until `give_up`.

---Says what replies mean and when a refused mail is tried again. Given once. Its items are rules. The first rule that fits gives a reply its `class`; all of them come before those that ship with hato (`lua/hato/bounces.rules`). A rule names at least one of `isp`, `phase` (`"rcpt"`; `"data"` is also the answer to the message), `code` (550 or `{ 500, 599 }`), `enhanced` (`"4.7.28"`, its beginning `"5.7."`, or `"x.7."` for either class) and `text` (a PCRE2 pattern, caseless, over the reply with its lines joined by spaces). Whether a mail is tried again is the code's to say; `retry = true` tries a 5xx to RCPT, DATA or the message again. `hato classify --reply "550 …"` says what the shipped rules make of a reply. Classes: no_such_user, moved, no_such_domain, not_accepting, inactive, mailbox_full, filtered, blocked, low_reputation, sender_rejected, no_ptr, auth_failed, rate_limited, too_many_connections, policy, security, relaying_denied, tls_failed, spam, virus, content, not_rfc, too_large, over_limit, network, greylisted, system, system_full, mailer, protocol, expired, unknown.
---@param options hato.BouncesOptions
function hato.bounces(options) end

---@class hato.CampaignOptions
---@field stream hato.Stream|string 
---@field to hato.Csv|fun():table? hato.csv, or a function that returns the next person, `{ email = …, name = … }`, and nil at the end. The function may wait.
---@field subject string Liquid.
---@field preheader? string Liquid. What a mailbox shows behind the subject. For html.
---@field from? string Liquid. `Name <address>`.
---@field reply_to? string Liquid.
---@field text? string|hato.File Liquid. At least one of text and html.
---@field html? string|hato.File Liquid. Values are escaped by the place they stand in; `| raw` opts out.
---@field headers? table Name to Liquid: `{ ["X-Kind"] = "news" }`. What hato itself writes (From, Date, List-Unsubscribe …) is refused.
---@field attach? table Paths, or `{ "map.png", name = "地図.png", type = "image/png" }`.
---@field inline? table Images that html shows as `cid:logo`: `{ { cid = "logo", "logo.png" } }`.
---@field partials? table What `{% include 'footer' %}` and `{% render 'footer' %}` name: `{ footer = hato.file "footer.html" }`.
---@field at? string `"2026-07-01 10:00"` in hato.tz. A time that the clock leaves out is the first one behind it, one that it shows twice is the first.
---@field late? string How late after `at` the campaign may still begin.
---@field expire? string After this time a mail not yet delivered is given up.
---@field start? "complete"|"streaming" Whether sending begins when the source was read to its end, or at once.
---@field missing? "error"|"empty" What a template does that prints a value which is not there and has no `default`: `error` refuses that person's mail, `empty` prints nothing.
---@field log? string|string[] Columns whose values go into events as `meta`.

---Declares one content to many people, once: each person gets one mail, however often the script runs.
---@param name string
---@return fun(options: hato.CampaignOptions)
function hato.campaign(name) end

---@class hato.SendOptions
---@field stream hato.Stream|string Declared above.
---@field to string An address.
---@field data? table Values for the templates.
---@field key? string The same key twice is one mail.
---@field subject string Liquid.
---@field preheader? string Liquid. What a mailbox shows behind the subject. For html.
---@field from? string Liquid. `Name <address>`.
---@field reply_to? string Liquid.
---@field text? string|hato.File Liquid. At least one of text and html.
---@field html? string|hato.File Liquid. Values are escaped by the place they stand in; `| raw` opts out.
---@field headers? table Name to Liquid: `{ ["X-Kind"] = "news" }`. What hato itself writes (From, Date, List-Unsubscribe …) is refused.
---@field attach? table Paths, or `{ "map.png", name = "地図.png", type = "image/png" }`.
---@field inline? table Images that html shows as `cid:logo`: `{ { cid = "logo", "logo.png" } }`.
---@field partials? table What `{% include 'footer' %}` and `{% render 'footer' %}` name: `{ footer = hato.file "footer.html" }`.
---@field at? string `"2026-07-01 10:00"` in hato.tz. A time that the clock leaves out is the first one behind it, one that it shows twice is the first.
---@field expire? string After this time it is given up.
---@field missing? "error"|"empty" What a template does that prints a value which is not there and has no `default`: `error` refuses that person's mail, `empty` prints nothing.

---Sends one mail. Returns when it is durable: from then on it is delivered, whatever happens. (waits)
---@param options hato.SendOptions
---@return any # id; or nil, why, code
function hato.send(options) end

---@class hato.CsvOptions
---@field map? table Name in templates to column: `{ name = "氏名" }`.
---@field encoding? "utf-8"|"cp932"|"shift_jis" Rows that do not fit it are bad rows, never garbled text.

---Names a file of people: a header line, then a row a person. The address column is `email` or `メールアドレス`. UTF-8 or CP932; comma, tab or semicolon; line breaks inside quotes.
---@param options string|hato.CsvOptions
---@return any # what `to =` takes
function hato.csv(options) end

---Reads a file, whole, now. The path is relative to the script.
---@param path string
---@return any # what text, html, partials, attach and inline take
function hato.file(path) end

---Sets a hook, one of each kind. `message(msg, person)` runs once before a mail's first attempt, and may wait. `msg:header(name, value)` adds a header or replaces the campaign's. If it fails, that mail is held and the others go on. `reply(reply, attempt)` runs on a refusal and may wait: nil, or `{ class = "blocked" }` to say what it means. If it fails, the log says so and the shipped rules decide. `events(batch)` gets a list of events and may wait; the next batch comes when it has ended.
---@param hook "message"|"reply"|"events"
---@param fn function
function hato.on(hook, fn) end

---Runs fn again and again, first after that time. It may wait; runs of one `every` never overlap, and those that a long run misses are left out. If it fails, the log says so and the next run comes.
---@param period string
---@param fn function
function hato.every(period, fn) end

---Waits. Everything else goes on. (waits)
---@param time string
function hato.sleep(time) end

hato.dns = {}

---Where mail for a domain goes. (waits)
---@param domain string
---@return any # a list of `{ host =, preference = }`, with `kind` "listed", "implicit" or "null"; or nil, why, code
function hato.dns.mx(domain) end

---IPv4 addresses of a name. (waits)
---@param name string
---@return any # a list of texts; or nil, why, code
function hato.dns.a(name) end

---IPv6 addresses of a name. (waits)
---@param name string
---@return any # a list of texts; or nil, why, code
function hato.dns.aaaa(name) end

---TXT records of a name, each joined to one text. (waits)
---@param name string
---@return any # a list of texts; or nil, why, code
function hato.dns.txt(name) end

---Names of an address. (waits)
---@param address string
---@return any # a list of texts; or nil, why, code
function hato.dns.ptr(address) end

---Writes a line of key=value to the log; hato.log itself is hato.log.info.
---@overload fun(text: string, fields?: table)
hato.log = {}

---See hato.log.
---@param text string
---@param fields? table
function hato.log.debug(text, fields) end

---See hato.log.
---@param text string
---@param fields? table
function hato.log.info(text, fields) end

---See hato.log.
---@param text string
---@param fields? table
function hato.log.warn(text, fields) end

---See hato.log.
---@param text string
---@param fields? table
function hato.log.error(text, fields) end

hato.json = {}

---A value as JSON, names in byte order. A table with items is a list, one with names an object, an empty one an object unless hato.json.list made it.
---@param value any
---@return any # text
function hato.json.encode(value) end

---The reverse. null is hato.json.null; whole numbers beyond 2^53 lose digits.
---@param text string
---@return any # value; or nil, why, "syntax"
function hato.json.decode(text) end

---Marks a table, or a new one, as a list, so that it encodes as `[]` while it is empty.
---@param t? table
---@return any # t
function hato.json.list(t) end

---JSON's null.
---@type any
hato.json.null = nil

---What `--set NAME=VALUE` gave on the command line; texts.
---@type any
hato.args = nil

---As an option of hato.isp: takes away what an earlier table of that name gave.
---@type any
hato.unset = nil

return hato
