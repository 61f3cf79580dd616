-- docomo: NTT docomo's mail for its customers. Blocks networks that name many unknown users; wants SPF, DKIM and DMARC.
return {
  mx = { "docomo.ne.jp" },
  domains = { "docomo.ne.jp" },
  per_connection = 100, -- 100 recipients a session, said by the provider, 2026-11-21
  samples = { mx = { "mfsmax.docomo.ne.jp" }, domains = { "docomo.ne.jp" } },
}
