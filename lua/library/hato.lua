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

---`hato.isps = "none"`, before the first hato.isp, leaves out the tables that ship with hato.
---@type string
hato.isps = "shipped"

---@class hato.StreamOptions
---@field from string `Name <address>`; the name may hold Liquid.
---@field dkim? table Keys, each `{ domain = …, selector = …, key = "path.pem" }`. Every mail is signed with all of them.
---@field bounce? string Domain of the return path, one address a mail (VERP). Without it the From address is used and late bounces go unread.
---@field unsubscribe? table `{ url = …, mailto = …, one_click = true }`: List-Unsubscribe, Liquid with `{{ token }}`.
---@field list_id? string List-Id.
---@field list? string The list that its mail goes to: who is suppressed with scope `list=NAME` (`hato suppress`) gets none of it. A campaign may name another.
---@field reply_to? string Reply-To of every mail that gives no other.
---@field pool? hato.Pool|string Which sources it sends from.
---@field priority? "urgent"|"normal"|"bulk" Which waiting mail goes first: with the next permit, and on each connection right behind the message that is being sent there.
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
---@field provider? string Bounce rules whose `isp` is this name are for it too: outlook and microsoft365 both have `microsoft`.
---@field connections? integer At once, for each source, 1 to 1000.
---@field per_connection? integer Mails before a connection is closed.
---@field rate? string Mails, for each source: `"1440/h"`, `"40/s"`, `"500/d"`, at most 10,000 a second. They go evenly, and no window of that length ever holds more, also across restarts.
---@field burst? integer How many of rate may go at once after a pause.
---@field recipients? string The same, of recipients; a mail has one.
---@field new_connections? string How often each source may open one.
---@field tls? "none"|"opportunistic"|"require" Holds where the stream asks for less.
---@field family? "ipv4"|"ipv6"|"both" Where IPv6 is used, a source with an IPv6 address is needed.

---Names a receiver and its limits. The same name again changes only the options it gives, hato.unset takes one away; so the tables that ship with hato (`lua/hato/isp/`: gmail, yahoo, outlook, microsoft365, apple, comcast, orange, free, gmx, qq, 163, yahoo.co.jp, docomo, au, softbank, jcom) can be bent. Which isp a mail belongs to: a pattern of `mx` that any of the domain's mail hosts meets comes before every pattern of `domains`, because who keeps the mailboxes decides what they take. Of each kind the longest pattern wins; of two as long, the script's before a shipped one, then the one declared first. Whom no table names is an isp of its own, by its set of mail hosts. Limits hold for each source. Without `connections` a path opens 1, one more for every 10 accepted mails, up to 10, and goes back to 1 after a refusal; a number given here is reached by the same ramp. Without `per_connection` a connection takes 100 mails. There is no rate unless one is given.
---@param name string
---@return fun(options: hato.IspOptions)
function hato.isp(name) end

---@class hato.LimitOptions
---@field by table What is counted apart, any of `"stream"`, `"campaign"`, `"source"`, `"pool"`, `"isp"`, `"domain"` (the recipient's) and `"mx"` (the set of its mail hosts). `{ "isp" }` is one limit for each receiver, `{}` one for all mail. Mail without such a thing (hato.send has no campaign) is not counted.
---@field rate? string Mails: `"40/s"`, `"1440/h"`, `"500/d"`, at most 10,000 a second.
---@field burst? integer How many of rate may go at once after a pause.
---@field recipients? string The same, of recipients; a mail has one.
---@field connections? integer At once, 1 to 100000: open, or carrying such mail.
---@field new_connections? string How often one is opened for such mail.
---@field per_connection? integer Such mails over one connection.

---Limits what goes together, beside what each isp allows. Every limit that applies must have room for a mail; what waits for one costs nothing and loses no attempt. A connection goes to one set of mail hosts from one source, and carries mail of any stream, campaign and domain there. So `connections` by source, isp and mx (or nothing) counts those that are open. By anything else it counts those that carry such mail: from when a connection takes up a mail of the kind until it takes up one of another kind, has no more to carry, or is closed; going on with the same kind takes nothing more, unless more urgent mail waits for it. A mail for which there is no such permit waits while the connection carries other mail. `new_connections` counts by the mail for which a connection is opened; over one that is open already a mail goes without. `per_connection` counts on each connection: by source, isp and mx it is closed after so many, by anything else it takes no more of that kind. Beside it the isp's own `per_connection` holds.
---@param options hato.LimitOptions
function hato.limit(options) end

---@class hato.WarmupOptions
---@field isp? string Name of a hato.isp. Without it the curve is for each receiver for which this source has no hato.warmup of its own.
---@field curve table Mails per hour of each step: `{ 60, 120, 240 }`; per day with `per = "day"` in it, spread over the window. Or one that grows: `{ start = 60, factor = 2 }`, with `most` up to that, without it for ever.
---@field hold? integer Active days a step.
---@field window? table When its mail may leave, `{ "09:00", "13:00" }` in hato.tz. One over midnight belongs to the day on which it opens.
---@field active? table Which share of its quota makes a day count: at least so much used, or `{ delivered = 0.9 }`, more than that delivered.
---@field overflow? hato.Pool|string `"wait"`, or a pool that takes what is above the quota: as much mail as the source can still carry today waits for it, the rest leaves from the pool.
---@field retreat? table When to go one step back: at least `least` answers of that class (or one of a list of classes), and a larger share than `above` of all answers, within `over`. Its days begin anew with the next, and it goes back once a day at most. `false`: never.

---Lets the source of that name grow, step by step, to what it may send to a receiver. Each From domain counts by itself, and so does each receiver. Mails leave at an even pace: `60/h` is one a minute, and no window of 3,600 s holds more. A step lasts `hold` active days; a day is active if enough of its quota was used, and what was missed while hato was down, or outside of `window`, is not made up for. The last step stays until the script says otherwise. Two weeks without mail take a step away and each week more another, after 30 days it starts anew. A limit of the isp holds beside it. `hato warmup` shows where each one is, and sets it by hand.
---@param name string
---@return fun(options: hato.WarmupOptions)
function hato.warmup(name) end

---@class hato.BouncesOptions
---@field retry? table Waits after the first, second … failed attempt; the last one repeats until `give_up`: the time since the first attempt, or since nobody could be reached. Time under a pause, a suspension, a closed window or a limit does not count.
---@field guard? table The outbreak guard, or false: while more than `share` of the latest `attempts` at an isp are no_such_user, and most days before had less than `usual` of them, the isp is ill and its people are not gone. A hard bounce there is set aside, and mail goes on; `hato suppress list --quarantine` shows them, `hato suppress confirm` and `release` decide, and a delivery clears them.
---@field provisional? string How long a hard bounce's suppression may be taken back: if the guard wakes in that time, it is set aside too.
---@field nxdomain? string How long NXDOMAIN is taken for a fault of DNS, where the domain took mail in the last 30 days: its mail waits. After that its people bounce.
---@field clear? string How long a delivery must hold, without a late bounce, before it clears the failures counted until then (`after`).

---Says what replies mean, what is done about them, and when a refused mail is tried again. Given once. Its items are rules, of two kinds, and in each the first that fits wins; all of them come before those that ship with hato (`lua/hato/bounces.rules`, `lua/hato/backoff.rules`). A rule that knows a reply gives it its `class`, and may give the `act`. It names at least one of `isp`, `phase` (`"rcpt"`; `"data"` is also the answer to the message), `code` (550 or `{ 500, 599 }`), `enhanced` (`"4.7.28"`, its beginning `"5.7."`, or `"x.7."` for either class) and `text` (a PCRE2 pattern, caseless, over the reply with its lines joined by spaces). Whether a mail is tried again is the code's to say; `retry = true` tries a 5xx to RCPT, DATA or the message again. `failure` in place of these (`"connect"`, `"lost"`, `"timeout"`, `"tls"`, or a list) knows answers that never came, with `isp` or without. `hato classify --reply "550 …"` says what the shipped rules make of a reply. A rule that knows only a `class` (or a list of them) or a `kind` (`"hard"`, `"soft"`, `"block"`) says what is done where the first kind gave no act: the first that fits for the person (`hato.suppress`, `hato.quarantine`), and the first that fits for the path (all other acts). `hato.ignore` is for both, and switches off what ships. When: for a person, `after` mails that ended so `within` a time; without them, at the first. For a path, `least` (or `after`) such answers, and `share` of all answers, `within` a time; without them at 3 in the last 20 answers, a pause not before 100. Classes: no_such_user, moved, no_such_domain, not_accepting, inactive, mailbox_full, filtered, blocked, low_reputation, sender_rejected, no_ptr, auth_failed, rate_limited, too_many_connections, policy, security, relaying_denied, tls_failed, spam, virus, content, not_rfc, too_large, over_limit, network, greylisted, system, system_full, mailer, protocol, expired, unknown.
---@param options hato.BouncesOptions
function hato.bounces(options) end

---@class hato.BreakerOptions
---@field errors? table Hard errors ÷ attempts of a campaign at an isp, those that came back by mail included. From `least` attempts on a share of `warn` is logged, and `stop` stops it. `false`: never.
---@field complaints? table Complaints ÷ delivered of a stream at an isp, within that time. It stops the stream there. `false`: never.

---When mail stops by itself, before a receiver stops it: a campaign at one isp by its hard errors, a stream at one isp by complaints. These are the defaults. What was stopped is a measure without an end: `hato queue --measures` lists it, it outlives a restart, and `hato resume measure=NAME` lets it go on, with counts that begin anew. A `hato run` that it leaves with mail unsent ends with exit code 1.
---@param options hato.BreakerOptions
function hato.breaker(options) end

---@class hato.SpoolOptions
---@field keep? string How long events stay: for `hato events`, `why` and `report`, and for limits, rules and breakers, which count from them after a start. So it cannot be shorter than the longest time that one of those counts over, nor than a day. Names and values of people go within a day of their last event, whatever this is; what is still queued keeps its events.
---@field journal_max? string How large the journal may grow, such as `"20 GB"` or `"512 MiB"`; at least 64 MB. At that size new mail is refused, with the code `full`, and what was accepted goes on. There is room again when events have grown older than `keep`, or people have settled for a day. Without it the disk is the bound.

---How the journal in the state folder is kept.
---@param options hato.SpoolOptions
function hato.spool(options) end

---@class hato.SlowOptions
---@field factor? number The part of it that is left, 0.01 to 0.99.
---@field scope? "path"|"site"|"source"|"stream"|"campaign" What it is about: one source at one isp, one set of mail hosts, one source wherever it sends, one From domain at one isp, one campaign at one isp.
---@field for? string How long.
---@field recover? string How long the way back takes, in steps.
---@field alert? boolean Log it as a warning.

---An act: mail goes at a part of the rate that it had. Once `for` is over the rate comes back in steps.
---@param options hato.SlowOptions
---@return any # the act
function hato.slow(options) end

---@class hato.FewerOptions
---@field factor? number The part of it that is left, 0.01 to 0.99.
---@field scope? "path"|"site"|"source"|"stream"|"campaign" What it is about: one source at one isp, one set of mail hosts, one source wherever it sends, one From domain at one isp, one campaign at one isp.
---@field for? string How long.
---@field recover? string How long the way back takes, in steps.
---@field alert? boolean Log it as a warning.

---An act: a part of the connections at once. Once `for` is over they come back in steps.
---@param options hato.FewerOptions
---@return any # the act
function hato.fewer(options) end

---@class hato.SuspendOptions
---@field scope? "path"|"site"|"source"|"stream"|"campaign" What it is about: one source at one isp, one set of mail hosts, one source wherever it sends, one From domain at one isp, one campaign at one isp.
---@field for? string How long.
---@field recover? string How long the way back takes, in steps.
---@field alert? boolean Log it as a warning.

---An act: nothing goes for a time, then more and more. It costs the mail that waits no attempt, and the time does not count for `give_up`.
---@param options hato.SuspendOptions
---@return any # the act
function hato.suspend(options) end

---@class hato.DeferOptions
---@field for? string How long.
---@field alert? boolean Log it as a warning.

---An act: this mail waits, and no other.
---@param options hato.DeferOptions
---@return any # the act
function hato.defer(options) end

---@class hato.ReconnectOptions
---@field alert? boolean Log it as a warning.

---An act: this connection ends and another is opened; nothing is slowed.
---@param options hato.ReconnectOptions
---@return any # the act
function hato.reconnect(options) end

---@class hato.Next_sourceOptions
---@field for? string How long it rests.
---@field alert? boolean Log it as a warning.

---An act: this source rests at this isp, and what it was refused goes from another one of the pool.
---@param options hato.Next_sourceOptions
---@return any # the act
function hato.next_source(options) end

---@class hato.PauseOptions
---@field for? string The longest that it lasts.
---@field recover? string How long the way back takes, in steps.
---@field alert? boolean Log it as a warning.

---An act: nothing goes until it is lifted by hand (`hato resume measure=NAME`) or its time is over. What it stops is named by what it is made of: `{ "stream", "isp" }`, `{ "campaign", "isp" }`, `{ "source", "isp" }`, `{ "mx", "isp" }`, `{ "source" }`. Not before 100 answers, unless its rule says `least` or `after`.
---@param options hato.PauseOptions
---@return any # the act
function hato.pause(options) end

---An act: this person gets nothing more, for a time or `"forever"`.
---@param time string
---@return any # the act
function hato.suppress(time) end

---An act: nothing is done, to the person or the path, and no rule behind it is asked, those that ship with hato included. Whether the mail is tried again stays as it is.
---@param options hato.IgnoreOptions
---@return any # the act
function hato.ignore(options) end

---@class hato.QuarantineOptions
---@field alert? boolean Log it as a warning.

---An act: this person gets nothing more until somebody has looked.
---@param options hato.QuarantineOptions
---@return any # the act
function hato.quarantine(options) end

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
---@field list? string The list that it goes to: people suppressed with scope `list=NAME` get none of it.
---@field start? "complete"|"streaming" Whether sending begins when the source was read to its end, or at once.
---@field missing? "error"|"empty" What a template does that prints a value which is not there and has no `default`: `error` refuses that person's mail, `empty` prints nothing.
---@field log? string|string[] Columns whose values go into events as `meta`.
---@field order? string|table Who goes first, for a CSV file. `{ by = "last_opened" }`: those with the largest number or latest date in that column, those with neither last. `"engaged"`: the same by the first of the columns engaged, last_engaged, last_clicked, last_click, last_opened, last_open, engagement, score that is there. It holds within each domain, and what a warm-up leaves to its overflow pool is taken from the front too. The file is held in memory while it is read.

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
