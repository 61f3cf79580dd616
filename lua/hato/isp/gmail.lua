-- gmail: Gmail and Google Workspace. Bulk rules hold from 5,000 mails a day for a domain. It wants TLS and refuses
-- without it (421 4.7.29, said by the provider): no `tls = "require"` here, which would hold mail to a world or sink
-- of that name that has none.
return {
  mx = { "google.com", "googlemail.com" },
  domains = { "gmail.com", "googlemail.com" },
  connections = 5, -- a common default of MTAs, 2026-11-21
  per_connection = 50, -- the same
  samples = {
    mx = { "gmail-smtp-in.l.google.com", "aspmx.l.google.com", "aspmx2.googlemail.com" },
    domains = { "gmail.com", "googlemail.com" },
  },
}
