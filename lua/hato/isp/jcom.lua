-- jcom: J:COM in Japan. Named for its replies; no limits are known.
return {
  mx = { "jcom.home.ne.jp", "jcom.zaq.ne.jp" },
  domains = { "jcom.home.ne.jp", "jcom.zaq.ne.jp" },
  samples = {
    mx = { "mx.jcom.home.ne.jp", "mx.jcom.zaq.ne.jp" },
    domains = { "jcom.home.ne.jp", "jcom.zaq.ne.jp" },
  },
}
