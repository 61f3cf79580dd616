-- hato/api.lua - every public name of hato: what it takes, gives, refuses, and whether it waits.
--
-- The one source of lua/reference.md and lua/library/hato.lua (scripts/gen-docs writes both). A test holds it
-- against the program: a function without an entry, an entry without a function, an option that only one side
-- knows, or an example that does not run, fails.
--
-- An entry: name, call (how it is written), waits, does, options or args { name, type, doc, required, default },
-- returns, errors, example. Types: text, bool, integer, duration, rate, texts (one or a list), word (one of
-- `words`), table, list, function, handle kinds ("stream"), any.
local M = {}

-- What a campaign and a single mail both take.
local content = {
  { name = "subject", type = "text", required = true, doc = "Liquid." },
  { name = "preheader", type = "text", doc = "Liquid. What a mailbox shows behind the subject. For html." },
  { name = "from", type = "text", default = "the stream's", doc = "Liquid. `Name <address>`." },
  { name = "reply_to", type = "text", default = "the stream's", doc = "Liquid." },
  { name = "text", type = "text or file", doc = "Liquid. At least one of text and html." },
  { name = "html", type = "text or file",
    doc = "Liquid. Values are escaped by the place they stand in; `| raw` opts out." },
  { name = "headers", type = "table", doc = "Name to Liquid: `{ [\"X-Kind\"] = \"news\" }`. "
    .. "What hato itself writes (From, Date, List-Unsubscribe …) is refused." },
  { name = "attach", type = "list", doc = "Paths, or `{ \"map.png\", name = \"地図.png\", type = \"image/png\" }`." },
  { name = "inline", type = "list",
    doc = "Images that html shows as `cid:logo`: `{ { cid = \"logo\", \"logo.png\" } }`." },
  { name = "partials", type = "table",
    doc = "What `{% include 'footer' %}` and `{% render 'footer' %}` name: `{ footer = hato.file \"footer.html\" }`." },
}

local function with_content(before, after)
  local all = {}
  for _, list in ipairs { before, content, after } do
    for _, option in ipairs(list) do all[#all + 1] = option end
  end
  return all
end

local at = { name = "at", type = "text", default = "now", doc = "`\"2026-07-01 10:00\"` in hato.tz. A time that the "
  .. "clock leaves out is the first one behind it, one that it shows twice is the first." }
local missing = { name = "missing", type = "word", words = { "error", "empty" }, default = "error",
  doc = "What a template does that prints a value which is not there and has no `default`: "
    .. "`error` refuses that person's mail, `empty` prints nothing." }

-- Of acts.
local scope = { name = "scope", type = "word", words = { "path", "site", "source", "stream", "campaign" },
  default = "path", doc = "What it is about: one source at one isp, one set of mail hosts, one source wherever it "
    .. "sends, one From domain at one isp, one campaign at one isp." }
local alert = { name = "alert", type = "bool", default = "false", doc = "Log it as a warning." }
local function slowing(time)
  return {
    { name = "factor", type = "number", default = "0.5", doc = "The part of it that is left, 0.01 to 0.99." },
    scope, { name = "for", type = "duration", default = time, doc = "How long." },
    { name = "recover", type = "duration", default = "1 h", doc = "How long the way back takes, in steps." }, alert,
  }
end

local log_args = {
  { name = "text", type = "text", required = true, doc = "" },
  { name = "fields", type = "table", doc = "Name to text, number or bool." },
}

M.functions = {
  {
    name = "stream", call = "hato.stream \"NAME\" { options }",
    does = "Declares a stream: one sending reputation, with its From domain, keys and sources.",
    options = {
      { name = "from", type = "text", required = true, doc = "`Name <address>`; the name may hold Liquid." },
      { name = "dkim", type = "list", doc = "Keys, each `{ domain = …, selector = …, key = \"path.pem\" }`. "
        .. "Every mail is signed with all of them." },
      { name = "bounce", type = "text", doc = "Domain of the return path, one address a mail (VERP). "
        .. "Without it the From address is used and late bounces go unread." },
      { name = "unsubscribe", type = "table",
        doc = "`{ url = …, mailto = …, one_click = true }`: List-Unsubscribe, Liquid with `{{ token }}`." },
      { name = "list_id", type = "text", default = "NAME.DOMAIN", doc = "List-Id." },
      { name = "list", type = "text", doc = "The list that its mail goes to: who is suppressed with scope `list=NAME` "
        .. "(`hato suppress`) gets none of it. A campaign may name another." },
      { name = "reply_to", type = "text", doc = "Reply-To of every mail that gives no other." },
      { name = "pool", type = "pool", default = "all sources", doc = "Which sources it sends from." },
      { name = "priority", type = "word", words = { "urgent", "normal", "bulk" }, default = "bulk",
        doc = "Which waiting mail goes first: with the next permit, and on each connection right behind the message "
        .. "that is being sent there." },
      { name = "weight", type = "integer", default = "1", doc = "Share among streams of one priority, 1 to 1000." },
      { name = "tls", type = "word", words = { "none", "opportunistic", "require" }, default = "opportunistic",
        doc = "Holds for all its mail; an isp may ask for more." },
      { name = "charset", type = "word", words = { "utf-8", "iso-2022-jp" }, default = "utf-8",
        doc = "Of its mail. ISO-2022-JP has Windows's characters too (CP50221): ① ㈱ 髙, half-width kana." },
      { name = "unmappable", type = "word", words = { "utf-8", "fold", "geta", "error" }, default = "utf-8",
        doc = "What becomes of a mail with characters that ISO-2022-JP does not have (🎉 𠮷). `utf-8`: the whole mail is "
        .. "UTF-8, nothing is lost. `fold`: what plain JIS X 0208 can say is written in it, for the oldest readers, "
        .. "where CP50221 would have it too (ｶﾞ→ガ, ①→(1), ㈱→(株), Ⅲ→III, é→e; 髙 stays 髙), the rest is 〓. "
        .. "`geta`: 〓. `error`: a bad row. Events count them as `unmappable`, and so does the report." },
      { name = "flowed", type = "bool", default = "false",
        doc = "Text leaves as format=flowed; delsp=yes (RFC 3676): wrapped, and put together again by readers that "
        .. "know it." },
    },
    later = { "quiet", "cap", "law" },
    returns = "the stream, for `stream =`",
    example = [[
local news = hato.stream "news" {
  from = "Example News <news@example.jp>",
  bounce = "b.example.jp",
  unsubscribe = { url = "https://example.jp/u/{{ token }}", one_click = true },
}]],
  },
  {
    name = "source", call = "hato.source \"NAME\" { options }",
    does = "Declares a local address to send from. Without any, IPv4 and the host's name are used.",
    options = {
      { name = "address", type = "text", required = true, doc = "IPv4 or IPv6 address of this machine." },
      { name = "ehlo", type = "text", required = true, doc = "The name it says in EHLO." },
    },
    returns = "the source",
    example = [[hato.source "mx1" { address = "203.0.113.7", ehlo = "mx1.example.jp" }]],
  },
  {
    name = "pool", call = "hato.pool \"NAME\" { sources }",
    does = "Declares a set of sources, each with a weight that divides what they could take now.",
    items = "a source or its name, or `{ \"mx2\", weight = 2 }`",
    options = {},
    returns = "the pool, for `pool =`",
    example = [[
hato.source "mx1" { address = "203.0.113.7", ehlo = "mx1.example.jp" }
hato.source "mx2" { address = "203.0.113.8", ehlo = "mx2.example.jp" }
hato.pool "bulk" { "mx1", { "mx2", weight = 2 } }]],
  },
  {
    name = "isp", call = "hato.isp \"NAME\" { options }",
    does = "Names a receiver and its limits. The same name again changes only the options it gives, hato.unset takes "
      .. "one away; so the tables that ship with hato (`lua/hato/isp/`: gmail, yahoo, outlook, microsoft365, apple, "
      .. "comcast, orange, free, gmx, qq, 163, yahoo.co.jp, docomo, au, softbank, jcom) can be bent.\n\n"
      .. "Which isp a mail belongs to: a pattern of `mx` that any of the domain's mail hosts meets comes before every "
      .. "pattern of `domains`, because who keeps the mailboxes decides what they take. Of each kind the longest "
      .. "pattern wins; of two as long, the script's before a shipped one, then the one declared first. Whom no table "
      .. "names is an isp of its own, by its set of mail hosts.\n\n"
      .. "Limits hold for each source. Without `connections` a path opens 1, one more for every 10 accepted mails, up "
      .. "to 10, and goes back to 1 after a refusal; a number given here is reached by the same ramp. Without "
      .. "`per_connection` a connection takes 100 mails. There is no rate unless one is given.",
    options = {
      { name = "mx", type = "texts", doc = "Names of its mail hosts: `google.com` with all below it, "
        .. "`*.example.jp` only those below. A match here beats one of domains." },
      { name = "domains", type = "texts", doc = "The same, of the recipient's domain." },
      { name = "provider", type = "text", doc = "Bounce rules whose `isp` is this name are for it too: outlook and "
        .. "microsoft365 both have `microsoft`." },
      { name = "connections", type = "integer", doc = "At once, for each source, 1 to 1000." },
      { name = "per_connection", type = "integer", default = "100", doc = "Mails before a connection is closed." },
      { name = "rate", type = "rate", doc = "Mails, for each source: `\"1440/h\"`, `\"40/s\"`, `\"500/d\"`, at most "
        .. "10,000 a second. They go evenly, and no window of that length ever holds more, also across restarts." },
      { name = "burst", type = "integer", default = "1", doc = "How many of rate may go at once after a pause." },
      { name = "recipients", type = "rate", doc = "The same, of recipients; a mail has one." },
      { name = "new_connections", type = "rate", doc = "How often each source may open one." },
      { name = "tls", type = "word", words = { "none", "opportunistic", "require" },
        doc = "Holds where the stream asks for less." },
      { name = "family", type = "word", words = { "ipv4", "ipv6", "both" }, default = "ipv4",
        doc = "Where IPv6 is used, a source with an IPv6 address is needed." },
    },
    later = { "pipeline" },
    example = [[
hato.isp "gmail"   { connections = 20, rate = "1440/h", per_connection = hato.unset }   -- bends the shipped table
hato.isp "offices" { mx = "mx.offices.example", domains = { "*.offices.example" }, connections = 3 }]],
  },
  {
    name = "limit", call = "hato.limit { options }",
    does = "Limits what goes together, beside what each isp allows. Every limit that applies must have room for a "
      .. "mail; what waits for one costs nothing and loses no attempt.\n\n"
      .. "A connection goes to one set of mail hosts from one source, and carries mail of any stream, campaign and "
      .. "domain there. So `connections` by source, isp and mx (or nothing) counts those that are open. By anything "
      .. "else it counts those that carry such mail: from when a connection takes up a mail of the kind until it "
      .. "takes up one of another kind, has no more to carry, or is closed; going on with the same kind takes nothing "
      .. "more, unless more urgent mail waits for it. A mail for which there is no such permit waits while the "
      .. "connection carries other mail. "
      .. "`new_connections` counts by the mail for which a connection is opened; over one that is open already a mail "
      .. "goes without. `per_connection` counts on each connection: by source, isp and mx it is closed after so many, "
      .. "by anything else it takes no more of that kind. Beside it the isp's own `per_connection` holds.",
    options = {
      { name = "by", type = "list", required = true, doc = "What is counted apart, any of `\"stream\"`, "
        .. "`\"campaign\"`, `\"source\"`, `\"pool\"`, `\"isp\"`, `\"domain\"` (the recipient's) and `\"mx\"` (the set "
        .. "of its mail hosts). `{ \"isp\" }` is one limit for each receiver, `{}` one for all mail. Mail without such "
        .. "a thing (hato.send has no campaign) is not counted." },
      { name = "rate", type = "rate", doc = "Mails: `\"40/s\"`, `\"1440/h\"`, `\"500/d\"`, at most 10,000 a second." },
      { name = "burst", type = "integer", default = "1", doc = "How many of rate may go at once after a pause." },
      { name = "recipients", type = "rate", doc = "The same, of recipients; a mail has one." },
      { name = "connections", type = "integer", doc = "At once, 1 to 100000: open, or carrying such mail." },
      { name = "new_connections", type = "rate", doc = "How often one is opened for such mail." },
      { name = "per_connection", type = "integer", doc = "Such mails over one connection." },
    },
    example = [[
hato.limit { by = { "isp" }, rate = "40/s" }                    -- to each receiver, from all sources together
hato.limit { by = { "campaign" }, rate = "100000/d" }
hato.limit { by = { "source", "domain" }, rate = "60/min", burst = 10 }
hato.limit { by = { "source" }, connections = 200 }
hato.limit { by = { "stream", "domain" }, connections = 2, per_connection = 20 }]],
  },
  {
    name = "warmup", call = "hato.warmup \"NAME\" { options }",
    does = "Lets the source of that name grow, step by step, to what it may send to a receiver. Each "
        .. "From domain counts by itself, and "
      .. "so does each receiver. Mails leave at an even pace: `60/h` is one a minute, and no window of 3,600 s holds "
      .. "more. A step lasts `hold` active days; a day is active if enough of its quota was used, and what was missed "
      .. "while hato was down, or outside of `window`, is not made up for. The last step stays until the script says "
      .. "otherwise. Two weeks without mail take a step away and each week more another, after 30 days it starts anew. "
      .. "A limit of the isp holds beside it. `hato warmup` shows where each one is, and sets it by hand.",
    options = {
      { name = "isp", type = "text", default = "every receiver", doc = "Name of a hato.isp. Without it "
        .. "the curve is for "
        .. "each receiver for which this source has no hato.warmup of its own." },
      { name = "curve", type = "list", required = true, doc = "Mails per hour of each step: `{ 60, 120, "
        .. "240 }`; per day "
        .. "with `per = \"day\"` in it, spread over the window. Or one that grows: `{ start = 60, factor = 2 }`, "
        .. "with `most` up to that, without it for ever." },
      { name = "hold", type = "integer", default = "1", doc = "Active days a step." },
      { name = "window", type = "list", default = "all day", doc = "When its mail may leave, `{ "
        .. "\"09:00\", \"13:00\" }` "
        .. "in hato.tz. One over midnight belongs to the day on which it opens." },
      { name = "active", type = "table", default = "{ used = 0.8 }", doc = "Which share of its quota "
        .. "makes a day count: "
        .. "at least so much used, or `{ delivered = 0.9 }`, more than that delivered." },
      { name = "overflow", type = "pool", default = '"wait"', doc = "`\"wait\"`, or a pool that takes "
        .. "what is above the "
        .. "quota: as much mail as the source can still carry today waits for it, the rest leaves from the pool." },
      { name = "retreat", type = "table", default = '{ class = "rate_limited", above = 0.02, least = 3, over = "1 h" }',
        doc = "When to go one step back: at least `least` answers of that class (or one of a list of classes), and a "
        .. "larger share than `above` of all answers, within `over`. Its days begin anew with the next, "
        .. "and it goes back "
        .. "once a day at most. `false`: never." },
    },
    example = [[
hato.source "mx1" { address = "203.0.113.7", ehlo = "mx1.example.jp" }
hato.source "old" { address = "203.0.113.6", ehlo = "mx0.example.jp" }
hato.pool "bulk" { "mx1" }
hato.pool "warm" { "old" }
hato.isp "gmail" { mx = { "google.com", "googlemail.com" } }
hato.warmup "mx1" {
  isp = "gmail", window = { "09:00", "13:00" }, hold = 3,
  curve = { 60, 120, 180, 240, 360, 720, 1080, 1440 },
  retreat = { class = "rate_limited", above = 0.02, least = 3, over = "1 h", to = "previous" },
}
hato.warmup "mx1" { curve = { start = 60, factor = 2, most = 5000 }, hold = 3, overflow = "warm" }  -- all others]],
  },
  {
    name = "bounces", call = "hato.bounces { options }",
    does = "Says what replies mean, what is done about them, and when a refused mail is tried again. Given once.\n\n"
      .. "Its items are rules, of two kinds, and in each the first that fits wins; all of them come before those that "
      .. "ship with hato (`lua/hato/bounces.rules`, `lua/hato/backoff.rules`).\n\n"
      .. "A rule that knows a reply gives it its `class`, and may give the `act`. It names at least one of `isp`, "
      .. "`phase` (`\"rcpt\"`; `\"data\"` is also the answer to the message), `code` (550 or `{ 500, 599 }`), "
      .. "`enhanced` (`\"4.7.28\"`, its beginning `\"5.7.\"`, or `\"x.7.\"` for either class) and `text` (a PCRE2 "
      .. "pattern, caseless, over the reply with its lines joined by spaces). Whether a mail is tried again is the "
      .. "code's to say; `retry = true` tries a 5xx to RCPT, DATA or the message again. `failure` in place of these "
      .. "(`\"connect\"`, `\"lost\"`, `\"timeout\"`, `\"tls\"`, or a list) knows answers that never came, with `isp` "
      .. "or without. `hato classify --reply \"550 …\"` says what the shipped rules make of a reply.\n\n"
      .. "A rule that knows only a `class` (or a list of them) or a `kind` (`\"hard\"`, `\"soft\"`, `\"block\"`) says "
      .. "what is done where the first kind gave no act: the first that fits for the person (`hato.suppress`, "
      .. "`hato.quarantine`), and the first that fits for the path (all other acts). `hato.ignore` is for both, and "
      .. "switches off what ships.\n\n"
      .. "When: for a person, `after` mails that ended so `within` a time; without them, at the first. For a "
      .. "path, `least` (or `after`) such answers, and `share` of all answers, `within` a time; without them at 3 in "
      .. "the last 20 answers, a pause not before 100.\n\n"
      .. "Classes: no_such_user, moved, no_such_domain, not_accepting, inactive, mailbox_full, filtered, blocked, "
      .. "low_reputation, sender_rejected, no_ptr, auth_failed, rate_limited, too_many_connections, policy, security, "
      .. "relaying_denied, tls_failed, spam, virus, content, not_rfc, too_large, over_limit, network, greylisted, "
      .. "system, system_full, mailer, protocol, expired, unknown.",
    options = {
      { name = "retry", type = "list", default = '{ "5 min", "30 min", "2 h", "6 h", give_up = "2 days" }',
        doc = "Waits after the first, second … failed attempt; the last one repeats until `give_up`: the time since "
          .. "the first attempt, or since nobody could be reached. Time under a pause, a suspension, a closed "
          .. "window or a limit does not count." },
      { name = "guard", type = "table", default = "{ share = 0.2, attempts = 200, usual = 0.05 }",
        doc = "The outbreak guard, or false: while more than `share` of the latest `attempts` at an isp are "
        .. "no_such_user, and most days before had less than `usual` of them, the isp is ill and its people are not "
        .. "gone. A hard bounce there is set aside, and mail goes on; `hato suppress list --quarantine` shows them, "
        .. "`hato suppress confirm` and `release` decide, and a delivery clears them." },
      { name = "provisional", type = "duration", default = "24 h", doc = "How long a hard bounce's suppression may be "
        .. "taken back: if the guard wakes in that time, it is set aside too." },
      { name = "nxdomain", type = "duration", default = "24 h", doc = "How long NXDOMAIN is taken for a fault of DNS, "
        .. "where the domain took mail in the last 30 days: its mail waits. After that its people bounce." },
      { name = "clear", type = "duration", default = "5 days", doc = "How long a delivery must hold, without a late "
        .. "bounce, before it clears the failures counted until then (`after`)." },
    },
    example = [[
hato.bounces {
  { isp = "qq", code = 550, text = "frequency limited", class = "rate_limited", retry = true },
  { isp = "au", text = "^550 : User unknown", class = "filtered" },
  { isp = "gmail", code = 421, enhanced = "4.7.28", class = "rate_limited", act = hato.slow { factor = 0.5 } },
  { enhanced = "x.7.26", class = "auth_failed", share = 0.2, least = 20, within = "10 min",
    act = hato.pause { "stream", "isp" } },
  { failure = "lost", least = 10, within = "1 min", act = hato.fewer { factor = 0.5 } },
  { class = "no_such_user", act = hato.suppress "forever" },
  { class = "mailbox_full", after = 3, within = "30 days", act = hato.suppress "90 days" },
  guard = { share = 0.3 }, clear = "10 days", nxdomain = "12 h",
  retry = { "5 min", "30 min", "2 h", give_up = "1 day" },
}]],
  },
  {
    name = "breaker", call = "hato.breaker { options }",
    does = "When mail stops by itself, before a receiver stops it: a campaign at one isp by its hard errors, a stream "
      .. "at one isp by complaints. These are the defaults. What was stopped is a measure without an end: "
      .. "`hato queue --measures` lists it, it outlives a restart, and `hato resume measure=NAME` lets it go on, with "
      .. "counts that begin anew. A `hato run` that it leaves with mail unsent ends with exit code 1.",
    options = {
      { name = "errors", type = "table", default = "{ least = 500, warn = 0.03, stop = 0.1 }", doc = "Hard errors ÷ "
        .. "attempts of a campaign at an isp, those that came back by mail included. From `least` attempts on a share "
        .. "of `warn` is logged, and `stop` stops it. `false`: never." },
      { name = "complaints", type = "table", default = '{ least = 1000, warn = 0.001, stop = 0.003, within = "24 h" }',
        doc = "Complaints ÷ delivered of a stream at an isp, within that time. It stops the stream there. `false`: "
        .. "never." },
    },
    example = [[
hato.breaker { errors = { stop = 0.05 }, complaints = { least = 500, within = "12 h" } }]],
  },
  {
    name = "spool", call = "hato.spool { options }",
    does = "How the journal in the state folder is kept.",
    options = {
      { name = "keep", type = "duration", default = "30 days", doc = "How long events stay: for `hato events`, `why` "
        .. "and `report`, and for limits, rules and breakers, which count from them after a start. So it cannot be "
        .. "shorter than the longest time that one of those counts over, nor than a day. Names and values of people "
        .. "go within a day of their last event, whatever this is; what is still queued keeps its events." },
      { name = "journal_max", type = "size", doc = "How large the journal may grow, such as `\"20 GB\"` or "
        .. "`\"512 MiB\"`; at least 64 MB. At that size new mail is refused, with the code `full`, and what was "
        .. "accepted goes on. There is room again when events have grown older than `keep`, or people have settled "
        .. "for a day. Without it the disk is the bound." },
    },
    example = [[
hato.spool { keep = "90 days", journal_max = "20 GB" }]],
  },
  {
    name = "slow", call = "hato.slow { options }",
    does = "An act: mail goes at a part of the rate that it had. Once `for` is over the rate comes back in steps.",
    options = slowing "30 min",
    returns = "the act",
    example = [[
hato.bounces { { class = "rate_limited", act = hato.slow { factor = 0.5, scope = "path", ["for"] = "20 min" } } }]],
  },
  {
    name = "fewer", call = "hato.fewer { options }",
    does = "An act: a part of the connections at once. Once `for` is over they come back in steps.",
    options = slowing "30 min",
    returns = "the act",
    example = [[hato.bounces { { class = "too_many_connections", act = hato.fewer { factor = 0.5 } } }]],
  },
  {
    name = "suspend", call = "hato.suspend { options }",
    does = "An act: nothing goes for a time, then more and more. It costs the mail that waits no attempt, and the time "
      .. "does not count for `give_up`.",
    options = {
      scope, { name = "for", type = "duration", default = "1 h", doc = "How long." },
      { name = "recover", type = "duration", default = "30 min", doc = "How long the way back takes, in steps." },
      alert,
    },
    returns = "the act",
    example = [[
hato.bounces { { text = "S3150", class = "blocked", after = 1,
                 act = hato.suspend { scope = "path", ["for"] = "4 h", alert = true } } }]],
  },
  {
    name = "defer", call = "hato.defer { options }",
    does = "An act: this mail waits, and no other.",
    options = { { name = "for", type = "duration", default = "30 min", doc = "How long." }, alert },
    returns = "the act",
    example = [[hato.bounces { { class = "greylisted", act = hato.defer { ["for"] = "10 min" } } }]],
  },
  {
    name = "reconnect", call = "hato.reconnect { options }",
    does = "An act: this connection ends and another is opened; nothing is slowed.",
    options = { alert },
    returns = "the act",
    example = [[
hato.bounces { { text = "too many messages for this session", class = "rate_limited", act = hato.reconnect() } }]],
  },
  {
    name = "next_source", call = "hato.next_source { options }",
    does = "An act: this source rests at this isp, and what it was refused goes from another one of the pool.",
    options = { { name = "for", type = "duration", default = "15 min", doc = "How long it rests." }, alert },
    returns = "the act",
    example = [[hato.bounces { { class = "no_ptr", act = hato.next_source { ["for"] = "1 day" } } }]],
  },
  {
    name = "pause", call = "hato.pause { what, options }",
    does = "An act: nothing goes until it is lifted by hand (`hato resume measure=NAME`) or its time is over. What it "
      .. "stops is named by what it is made of: `{ \"stream\", \"isp\" }`, `{ \"campaign\", \"isp\" }`, "
      .. "`{ \"source\", \"isp\" }`, `{ \"mx\", \"isp\" }`, `{ \"source\" }`. Not before 100 answers, unless its rule "
      .. "says `least` or `after`.",
    options = {
      { name = "for", type = "duration", default = "1 day", doc = "The longest that it lasts." },
      { name = "recover", type = "duration", default = "1 h", doc = "How long the way back takes, in steps." },
      { name = "alert", type = "bool", default = "true", doc = "Log it as a warning." },
    },
    returns = "the act",
    example = [[
hato.bounces { { class = "auth_failed", share = 0.2, least = 20, within = "10 min",
                 act = hato.pause { "stream", "isp" } } }]],
  },
  {
    name = "suppress", call = "hato.suppress \"TIME\"",
    does = "An act: this person gets nothing more, for a time or `\"forever\"`.",
    args = { { name = "time", type = "text", required = true, doc = "`\"forever\"` or a duration." } },
    returns = "the act",
    example = [[
hato.bounces { { class = "mailbox_full", after = 3, within = "30 days", act = hato.suppress "90 days" } }]],
  },
  {
    name = "ignore", call = "hato.ignore()",
    does = "An act: nothing is done, to the person or the path, and no rule behind it is asked, those that ship with "
      .. "hato included. Whether the mail is tried again stays as it is.",
    returns = "the act",
    example = [[hato.bounces { { class = "mailbox_full", act = hato.ignore() } }]],
  },
  {
    name = "quarantine", call = "hato.quarantine { options }",
    does = "An act: this person gets nothing more until somebody has looked.",
    options = { alert },
    returns = "the act",
    example = [[hato.bounces { { class = "moved", act = hato.quarantine() } }]],
  },
  {
    name = "campaign", call = "hato.campaign \"NAME\" { options }",
    does = "Declares one content to many people, once: each person gets one mail, however often the script runs.",
    options = with_content({
      { name = "stream", type = "stream", required = true, doc = "" },
      { name = "to", type = "csv or function", required = true,
        doc = "hato.csv, or a function that returns the next person, `{ email = …, name = … }`, and nil at the end. "
          .. "The function may wait." },
    }, {
      at,
      { name = "late", type = "duration", default = "forever",
        doc = "How late after `at` the campaign may still begin." },
      { name = "expire", type = "duration", default = "forever",
        doc = "After this time a mail not yet delivered is given up." },
      { name = "list", type = "text", default = "the stream's", doc = "The list that it goes to: people suppressed "
        .. "with scope `list=NAME` get none of it." },
      { name = "start", type = "word", words = { "complete", "streaming" }, default = "complete",
        doc = "Whether sending begins when the source was read to its end, or at once." },
      missing,
      { name = "log", type = "texts", doc = "Columns whose values go into events as `meta`." },
      { name = "order", type = "text or table", default = "as they stand in the file", doc = "Who goes "
        .. "first, for a CSV "
        .. "file. `{ by = \"last_opened\" }`: those with the largest number or latest date in that column, those with "
        .. "neither last. `\"engaged\"`: the same by the first of the columns engaged, last_engaged, "
        .. "last_clicked, last_click, "
        .. "last_opened, last_open, engagement, score that is there. It holds within each domain, and what a warm-up "
        .. "leaves to its overflow pool is taken from the front too. The file is held in memory while it is read." },
    }),
    later = { "split", "track" },
    example = [[
local news = hato.stream "news" { from = "Example News <news@example.jp>" }
hato.campaign "hello" {
  stream = news,
  to = hato.csv "people.csv",
  subject = "Hello {{ name }}",
  text = "Dear {{ name }},\n…\n",
  expire = "3 days",
}]],
  },
  {
    name = "send", call = "hato.send { options }", waits = true,
    does = "Sends one mail. Returns when it is durable: from then on it is delivered, whatever happens.",
    options = with_content({
      { name = "stream", type = "stream", required = true, doc = "Declared above." },
      { name = "to", type = "text", required = true, doc = "An address." },
      { name = "data", type = "table", doc = "Values for the templates." },
      { name = "key", type = "text", doc = "The same key twice is one mail." },
    }, {
      at,
      { name = "expire", type = "duration", default = "forever", doc = "After this time it is given up." },
      missing,
    }),
    returns = "id; or nil, why, code",
    errors = "codes: `exists`, the key is known; `full`, no room in the journal; `invalid`, the address or a template; "
      .. "`missing`, a value that a template prints; `canceled`; `failed`",
    example = [[
local tx = hato.stream "tx" { from = "shop@example.jp", priority = "urgent" }
hato.every("1 h", function()
  local id, why = hato.send {
    stream = tx, to = "taro@example.jp", key = "order-123",
    subject = "ご注文 {{ number }}", text = "ありがとうございます。\n", data = { number = 123 },
  }
  if not id then hato.log.warn("not accepted", { why = why }) end
end)]],
  },
  {
    name = "csv", call = "hato.csv \"PATH\"  or  hato.csv { \"PATH\", options }",
    does = "Names a file of people: a header line, then a row a person. The address column is `email` or "
      .. "`メールアドレス`. UTF-8 or CP932; comma, tab or semicolon; line breaks inside quotes.",
    items = "the path",
    options = {
      { name = "map", type = "table", doc = "Name in templates to column: `{ name = \"氏名\" }`." },
      { name = "encoding", type = "word", words = { "utf-8", "cp932", "shift_jis" }, default = "found out",
        doc = "Rows that do not fit it are bad rows, never garbled text." },
    },
    returns = "what `to =` takes",
    example = [[local people = hato.csv { "people.csv", map = { name = "氏名" } }]],
  },
  {
    name = "file", call = "hato.file \"PATH\"",
    does = "Reads a file, whole, now. The path is relative to the script.",
    args = { { name = "path", type = "text", required = true, doc = "" } },
    returns = "what text, html, partials, attach and inline take",
    example = [[local html = hato.file "hello.html"]],
  },
  {
    name = "on", call = "hato.on(\"message\" | \"reply\" | \"events\", fn)",
    does = "Sets a hook, one of each kind.\n\n"
      .. "`message(msg, person)` runs once before a mail's first attempt, and may wait. `msg:header(name, value)` adds "
      .. "a header or replaces the campaign's. If it fails, that mail is held and the others go on.\n\n"
      .. "`reply(reply, attempt)` runs on a refusal and may wait: nil, or `{ class = \"blocked\" }` to say what "
      .. "it means. If it fails, the log says so and the shipped rules decide.\n\n"
      .. "`events(batch)` gets a list of events and may wait; the next batch comes when it has ended.",
    args = {
      { name = "hook", type = "word", words = { "message", "reply", "events" }, required = true, doc = "" },
      { name = "fn", type = "function", required = true, doc = "" },
    },
    example = [[
hato.on("message", function(msg, person)
  msg:header("X-Priority", person.vip and "1" or "3")
end)
hato.on("reply", function(reply)
  if reply.text:find "S3150" then return { class = "blocked" } end
end)
local bounced = 0
hato.on("events", function(batch)
  for _, e in ipairs(batch) do
    if e.type == "bounced" then bounced = bounced + 1 end
  end
end)]],
  },
  {
    name = "every", call = "hato.every(\"1 h\", fn)",
    does = "Runs fn again and again, first after that time. It may wait; runs of one `every` never overlap, and those "
      .. "that a long run misses are left out. If it fails, the log says so and the next run comes.",
    args = {
      { name = "period", type = "duration", required = true, doc = "" },
      { name = "fn", type = "function", required = true, doc = "" },
    },
    example = [[hato.every("10 min", function() hato.log("still here") end)]],
  },
  {
    name = "sleep", call = "hato.sleep \"5 s\"", waits = true,
    does = "Waits. Everything else goes on.",
    args = { { name = "time", type = "duration", required = true, doc = "" } },
    example = [[hato.sleep "1 s"]],
  },
  {
    name = "dns.mx", call = "hato.dns.mx(domain)", waits = true,
    does = "Where mail for a domain goes.",
    args = { { name = "domain", type = "text", required = true, doc = "" } },
    returns = "a list of `{ host =, preference = }`, with `kind` \"listed\", \"implicit\" or \"null\"; "
      .. "or nil, why, code",
    errors = "codes `nxdomain`, `nodata`: the domain says so; `servfail`, `timeout`, `refused`, `loop`, `bad`: "
      .. "nobody knows now",
    example = [[
local hosts, why = hato.dns.mx "example.jp"
if hosts and hosts[1] then print(hosts[1].host) else print(why) end]],
  },
  {
    name = "dns.a", call = "hato.dns.a(name)", waits = true, does = "IPv4 addresses of a name.",
    args = { { name = "name", type = "text", required = true, doc = "" } },
    returns = "a list of texts; or nil, why, code", errors = "as hato.dns.mx",
    example = [[local addresses = hato.dns.a "mx1.example.jp"]],
  },
  {
    name = "dns.aaaa", call = "hato.dns.aaaa(name)", waits = true, does = "IPv6 addresses of a name.",
    args = { { name = "name", type = "text", required = true, doc = "" } },
    returns = "a list of texts; or nil, why, code", errors = "as hato.dns.mx",
    example = [[local addresses = hato.dns.aaaa "mx1.example.jp"]],
  },
  {
    name = "dns.txt", call = "hato.dns.txt(name)", waits = true,
    does = "TXT records of a name, each joined to one text.",
    args = { { name = "name", type = "text", required = true, doc = "" } },
    returns = "a list of texts; or nil, why, code", errors = "as hato.dns.mx",
    example = [[local records = hato.dns.txt "_dmarc.example.jp"]],
  },
  {
    name = "dns.ptr", call = "hato.dns.ptr(address)", waits = true, does = "Names of an address.",
    args = { { name = "address", type = "text", required = true, doc = "IPv4 or IPv6." } },
    returns = "a list of texts; or nil, why, code", errors = "as hato.dns.mx",
    example = [[local names = hato.dns.ptr "203.0.113.7"]],
  },
  {
    name = "log", call = "hato.log(text, fields)  or  hato.log.debug, .info, .warn, .error",
    does = "Writes a line of key=value to the log; hato.log itself is hato.log.info.",
    args = log_args,
    example = [[hato.log.warn("stock is low", { item = "A-1", left = 3 })]],
  },
  {
    name = "log.debug", call = "hato.log.debug(text, fields)", does = "See hato.log.",
    args = log_args,
    example = [[hato.log.debug("row", { n = 1 })]],
  },
  {
    name = "log.info", call = "hato.log.info(text, fields)", does = "See hato.log.",
    args = log_args,
    example = [[hato.log.info("started")]],
  },
  {
    name = "log.warn", call = "hato.log.warn(text, fields)", does = "See hato.log.",
    args = log_args,
    example = [[hato.log.warn("slow", { seconds = 12 })]],
  },
  {
    name = "log.error", call = "hato.log.error(text, fields)", does = "See hato.log.",
    args = log_args,
    example = [[hato.log.error("no answer", { host = "db1" })]],
  },
  {
    name = "json.encode", call = "hato.json.encode(value)",
    does = "A value as JSON, names in byte order. A table with items is a list, one with names an object, "
      .. "an empty one an object unless hato.json.list made it.",
    args = { { name = "value", type = "any", required = true, doc = "" } },
    returns = "text",
    example = [[print(hato.json.encode { name = "山田", tags = { "a", "b" } })]],
  },
  {
    name = "json.decode", call = "hato.json.decode(text)",
    does = "The reverse. null is hato.json.null; whole numbers beyond 2^53 lose digits.",
    args = { { name = "text", type = "text", required = true, doc = "" } },
    returns = "value; or nil, why, \"syntax\"",
    example = [[
local order, why = hato.json.decode '{"id": 7, "gift": null}'
if order and order.gift == hato.json.null then print(order.id) else print(why) end]],
  },
  {
    name = "json.list", call = "hato.json.list(t)",
    does = "Marks a table, or a new one, as a list, so that it encodes as `[]` while it is empty.",
    args = { { name = "t", type = "table", doc = "" } },
    returns = "t",
    example = [[print(hato.json.encode { tags = hato.json.list() })]],
  },
  {
    name = "json.null", call = "hato.json.null", value = true, does = "JSON's null.",
    example = [[print(hato.json.encode { gift = hato.json.null })]],
  },
  {
    name = "args", call = "hato.args.NAME", value = true,
    does = "What `--set NAME=VALUE` gave on the command line; texts.",
    example = [[local limit = tonumber(hato.args.limit or "100")]],
  },
  {
    name = "unset", call = "hato.unset", value = true,
    does = "As an option of hato.isp: takes away what an earlier table of that name gave.",
    example = [[
hato.isp "gmail" { mx = "google.com", connections = 20 }
hato.isp "gmail" { connections = hato.unset }]],
  },
}

-- What `hato console` has beside Lua's own; `returns` is what the prompt shows.
M.console = {
  {
    name = "status", call = "status()",
    does = "Counts of the process: what is queued, what came of the rest, since when it runs and with which script.",
    returns = "a table: queued, waiting, in_flight, deferred, held, connections, accepted, delivered, bounced, "
      .. "expired, retries, ambiguous, since, script, version, pid",
    example = "status().queued",
  },
  {
    name = "queue", call = "queue()",
    does = "What is on its way, by receiver, campaign and stream, and what it waits for: the rows of `hato queue`.",
    returns = "a list of tables: isp, campaign, stream, waiting, in_flight, deferred, held, why, until",
    example = "for _, row in ipairs(queue()) do print(row.isp, row.waiting, row.why) end",
  },
  {
    name = "top", call = "top()",
    does = "The same, then a row a path and a row a campaign with their rates: what `hato top` paints.",
    returns = "a list of tables; `row` is \"path\" or \"campaign\" in those",
    example = "for _, row in ipairs(top()) do if row.row == \"path\" then print(row.isp, row.per_second) end end",
  },
  {
    name = "measures", call = "measures()",
    does = "What answers of receivers have put in place: the rows of `hato queue --measures`.",
    returns = "a list of tables: name, measure, scope, isp, source, rule, why, allows, since, until, waiting",
    example = "#measures()",
  },
  {
    name = "pauses", call = "pauses()",
    does = "What people have paused.",
    returns = "a list of tables: kind, name, since",
    example = "#pauses()",
  },
  {
    name = "why", call = "why \"m17\"",
    does = "What a message waits for now. Its whole life is `hato why m17`.",
    returns = "a list of one table: message, state, why, until; empty where it is not on its way",
    example = "why \"m17\"",
  },
  {
    name = "script", call = "script.NAME",
    does = "The script's globals, by value: a number, text or bool as it is, a table by asking it for a name.",
    returns = "the value",
    example = "script.hato",
  },
  {
    name = "keys", call = "keys(table)",
    does = "The names in a table of the script, or of the prompt's own.",
    returns = "a list of texts, sorted",
    example = "keys(script)",
  },
  {
    name = "print", call = "print(...)",
    does = "Shows values, tables with what is in them; for more than a line gives.",
    returns = "nothing",
    example = "print(status().queued, { 1, 2 })",
  },
}

M.options = {
  { name = "tz", type = "text", default = "UTC",
    doc = "Time zone of `at`, os.date and os.time: `hato.tz = \"Asia/Tokyo\"`." },
  { name = "isps", type = "text", default = "shipped",
    doc = "`hato.isps = \"none\"`, before the first hato.isp, leaves out the tables that ship with hato." },
}

-- Names that are known and not there yet: using one says so.
M.later = {
  "alert", "event", "http", "list", "people", "segment", "sequence", "stats", "web", "ztest",
}

return M
