-- au: KDDI's mail for its customers. Takes 3 MB. Its thresholds are not published; it limits by resetting connections.
return {
  mx = { "au.com", "ezweb.ne.jp" },
  domains = { "au.com", "ezweb.ne.jp" },
  per_connection = 100, -- 100 recipients, said by the provider, 2026-11-21
  samples = { mx = { "mx.au.com", "mx.ezweb.ne.jp" }, domains = { "au.com", "ezweb.ne.jp" } },
}
