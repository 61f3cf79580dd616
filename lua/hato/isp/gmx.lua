-- gmx: GMX and WEB.DE.
return {
  mx = { "emig.gmx.net", "web.de" },
  domains = { "gmx.net", "gmx.de", "gmx.at", "gmx.ch", "web.de" },
  connections = 4, -- operators' reports, 2026-11-21
  per_connection = 20, -- the same
  samples = {
    mx = { "mx00.emig.gmx.net", "mx-ha.web.de", "mx-ha02.web.de" },
    domains = { "gmx.net", "gmx.de", "gmx.at", "gmx.ch", "web.de" },
  },
}
