-- comcast: Comcast's own mail hosts; what has moved to Yahoo has Yahoo's MX.
return {
  mx = { "comcast.net" },
  domains = { "comcast.net" },
  connections = 25, -- said by the provider, 2026-11-21
  per_connection = 1000, -- the same
  samples = { mx = { "mx1h1.comcast.net" }, domains = { "comcast.net" } },
}
