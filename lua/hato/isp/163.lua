-- 163: NetEase's mail, 163.com and 126.com.
return {
  mx = { "netease.com" },
  domains = { "163.com", "126.com" },
  connections = 4, -- operators' reports, 2026-11-21
  per_connection = 7, -- the same
  samples = { mx = { "163mx01.mxmail.netease.com" }, domains = { "163.com", "126.com" } },
}
