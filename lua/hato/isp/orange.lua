-- orange: Orange in France, Wanadoo's addresses too.
return {
  mx = { "smtp-in.orange.fr" },
  domains = { "orange.fr", "wanadoo.fr" },
  connections = 2, -- operators' reports, 2026-11-21
  per_connection = 100, -- the same
  samples = { mx = { "smtp-in.orange.fr" }, domains = { "orange.fr", "wanadoo.fr" } },
}
