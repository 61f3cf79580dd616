-- yahoo: Yahoo, AOL, and the providers whose mailboxes it keeps: cox.net, att.net and its family. comcast.net moves
-- there through 2026: its MX says when.
return {
  mx = { "yahoodns.net" },
  domains = {
    "yahoo.com", "ymail.com", "rocketmail.com", "aol.com", "cox.net",
    "att.net", "sbcglobal.net", "bellsouth.net", "ameritech.net", "pacbell.net", "swbell.net", "prodigy.net",
  },
  per_connection = 20, -- said by the provider, 2026-11-21
  samples = {
    mx = { "mta5.am0.yahoodns.net" },
    domains = {
      "yahoo.com", "ymail.com", "rocketmail.com", "aol.com", "cox.net",
      "att.net", "sbcglobal.net", "bellsouth.net", "ameritech.net", "pacbell.net", "swbell.net", "prodigy.net",
    },
  },
}
