-- softbank: SoftBank's mail for its customers. A mail that is filtered there gets 250 and vanishes.
return {
  mx = { "softbank.ne.jp", "softbank.jp" },
  domains = {
    "softbank.ne.jp", "i.softbank.jp", "*.vodafone.ne.jp", "disney.ne.jp", "ymobile.ne.jp", "yahoo.ne.jp",
  },
  samples = {
    mx = { "mx.softbank.ne.jp", "mx.i.softbank.jp" },
    domains = {
      "softbank.ne.jp", "i.softbank.jp", "t.vodafone.ne.jp", "disney.ne.jp", "ymobile.ne.jp", "yahoo.ne.jp",
    },
  },
}
