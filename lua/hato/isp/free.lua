-- free: Free in France. Named for its replies; no limits are known.
return {
  mx = { "free.fr" },
  domains = { "free.fr" },
  samples = { mx = { "mx1.free.fr" }, domains = { "free.fr" } },
}
