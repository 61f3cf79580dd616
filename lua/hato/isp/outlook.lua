-- outlook: Microsoft's mailboxes for consumers.
return {
  provider = "microsoft",
  mx = { "olc.protection.outlook.com" },
  domains = {
    "outlook.com", "outlook.jp", "hotmail.com", "hotmail.co.jp", "hotmail.co.uk", "hotmail.fr", "live.com", "live.jp",
    "msn.com",
  },
  connections = 5, -- a common default of MTAs, 2026-11-21
  per_connection = 50, -- the same
  samples = {
    mx = { "outlook-com.olc.protection.outlook.com" },
    domains = {
      "outlook.com", "outlook.jp", "hotmail.com", "hotmail.co.jp", "hotmail.co.uk", "hotmail.fr", "live.com", "live.jp",
      "msn.com",
    },
  },
}
