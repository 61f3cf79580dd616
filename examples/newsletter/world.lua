-- The receivers of the demo, for `hato sink --world`: eight of them, each with manners of its own, all on loopback.
local everything = { "PIPELINING", "SIZE 35882577", "STARTTLS", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES" }

return {
  isps = {
    docomo = { -- quick, strict about addresses, no TLS
      domains = { "docomo.test" },
      mx = { "mx1.docomo.test", "mx2.docomo.test" },
      address = { "127.0.1.1", "127.0.1.2" },
      extensions = { "PIPELINING", "SIZE 10485760", "8BITMIME" },
      connections = 10,
      unknown = 0.015,
      replies = {
        { phase = "rcpt", share = 0.004, reply = "550 Unknown user" }, -- says no more than that
      },
    },
    au = { -- takes old addresses only as they are written, and asks everybody to come back
      domains = { "ezweb.test", "au.test" },
      mx = { "mx.au.test" },
      address = "127.0.1.3",
      extensions = { "SIZE 10485760", "8BITMIME" },
      connections = 8,
      greylist = "5 s",
      replies = {
        { phase = "rcpt", to = [[^"]], reply = "550 5.1.3 address not understood" },
        { phase = "rcpt", share = 0.005, reply = "550 : User unknown" },
      },
    },
    softbank = { -- slow to answer
      domains = { "softbank.test", "i.softbank.test" },
      mx = { "mx.softbank.test" },
      address = "127.0.1.4",
      extensions = { "PIPELINING", "SIZE 10485760", "8BITMIME", "ENHANCEDSTATUSCODES" },
      connections = 10,
      delay = "5 ms",
      unknown = 0.01,
      replies = { { phase = "rcpt", share = 0.006, reply = "452 4.2.2 mailbox full" } },
    },
    gmail = { -- everything modern, few messages a connection, watches rates
      domains = { "gmail.test" },
      mx = { "5 mx1.gmail.test", "10 mx2.gmail.test" },
      address = { "127.0.1.5", "127.0.1.6" },
      extensions = everything,
      per_connection = 100,
      unknown = 0.008,
      replies = {
        { phase = "rcpt", share = 0.004, reply = "452-4.2.2 The recipient's inbox is out of storage space.\n"
          .. "452 4.2.2 Please direct the recipient to https://support.example.test/" },
        { phase = "eod", share = 0.002, reply = "421 4.7.28 Our system has detected an unusual rate of mail" },
      },
    },
    yahoo = { -- twenty messages a connection, and hangs up when it is busy
      domains = { "yahoo.test" },
      mx = { "mx.yahoo.test" },
      address = "127.0.1.7",
      extensions = { "PIPELINING", "SIZE 41943040", "STARTTLS", "8BITMIME" },
      connections = 10,
      per_connection = 20,
      unknown = 0.012,
      replies = {
        { phase = "rcpt", share = 0.01, reply = "421 4.3.2 Busy, come back later" },
        { phase = "rcpt", share = 0.005, reply = "554 delivery error: dd This user doesn't have an account" },
      },
    },
    microsoft = { -- one host for several domains; offers TLS and then refuses it
      domains = { "outlook.test", "hotmail.test", "live.test" },
      mx = { "mx.outlook.test" },
      address = "127.0.1.8",
      extensions = everything,
      tls = "refuse",
      unknown = 0.02,
      replies = { { phase = "eod", share = 0.01, reply = "550 5.7.1 content refused (S3150)" } },
    },
    icloud = { -- drops a connection now and then
      domains = { "icloud.test" },
      mx = { "mx.icloud.test" },
      address = "127.0.1.9",
      extensions = everything,
      connections = 8,
      unknown = 0.005,
      replies = { { phase = "data", share = 0.005, disconnect = true } },
    },
    offices = { -- one small server for many companies
      domains = { "aoba.test", "wakaba.test", "minato.test", "hinode.test", "kawabe.test", "tsubaki.test" },
      mx = { "mx.offices.test" },
      address = "127.0.1.10",
      extensions = { "PIPELINING", "SIZE 20971520", "STARTTLS" },
      connections = 4,
      greylist = "5 s",
      unknown = 0.03,
      replies = { { phase = "rcpt", share = 0.01, reply = "550 5.7.1 refused by this person's filter" } },
    },
  },
  dns = {
    ["gmial.test"] = "nxdomain", -- mistyped
    ["closed.test"] = "null_mx", -- takes no mail at all
    ["down.test"] = "servfail", -- nobody knows today
  },
}
