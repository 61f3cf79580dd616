-- microsoft365: mailboxes of organisations at Microsoft. Every customer has an MX name of its own, so what is counted
-- and held back is the isp.
return {
  provider = "microsoft",
  mx = { "mail.protection.outlook.com", "mx.microsoft" },
  domains = { "onmicrosoft.com" },
  connections = 5, -- a common default of MTAs, 2026-11-21
  per_connection = 50, -- the same
  samples = {
    mx = { "example-jp.mail.protection.outlook.com", "example-jp.v-v1.mx.microsoft" },
    domains = { "example.onmicrosoft.com" },
  },
}
