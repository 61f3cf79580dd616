-- qq: Tencent's QQ Mail, own domains of its customers too.
return {
  mx = { "qq.com" },
  domains = { "qq.com" },
  connections = 4, -- operators' reports, 2026-11-21
  per_connection = 8, -- the same
  samples = { mx = { "mx3.qq.com" }, domains = { "qq.com" } },
}
