-- yahoo.co.jp: Yahoo! JAPAN, a company of its own.
return {
  mx = { "yahoo.co.jp" },
  domains = { "yahoo.co.jp" },
  connections = 2, -- operators' reports, 2026-11-21
  per_connection = 20, -- the same
  rate = "10/s", -- the same
  samples = { mx = { "mx1.mail.yahoo.co.jp" }, domains = { "yahoo.co.jp" } },
}
