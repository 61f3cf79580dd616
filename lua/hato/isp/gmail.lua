-- gmail: Gmail and Google Workspace. Bulk rules hold from 5,000 mails a day for a domain.
return {
  mx = { "google.com", "googlemail.com" },
  domains = { "gmail.com", "googlemail.com" },
  connections = 5, -- a common default of MTAs, 2026-11-21
  per_connection = 50, -- the same
  tls = "require", -- said by the provider (421 4.7.29 without), 2026-11-21
  samples = {
    mx = { "gmail-smtp-in.l.google.com", "aspmx.l.google.com", "aspmx2.googlemail.com" },
    domains = { "gmail.com", "googlemail.com" },
  },
}
