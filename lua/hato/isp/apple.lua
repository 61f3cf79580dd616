-- apple: iCloud Mail, own domains of its customers too. There is no feedback loop.
return {
  mx = { "mail.icloud.com" },
  domains = { "icloud.com", "me.com", "mac.com" },
  connections = 10, -- a common default of MTAs, 2026-11-21
  per_connection = 5, -- the same
  samples = {
    mx = { "mx01.mail.icloud.com" },
    domains = { "icloud.com", "me.com", "mac.com" },
  },
}
