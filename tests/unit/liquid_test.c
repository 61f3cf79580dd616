/* liquid_test.c - what hato adds to Liquid: escaping by place, missing values, budgets, errors people read.
 */
#include "format/liquid.h"
#include "test.h"

struct partial {
    const char *name, *text;
};

static int resolve(void *arg, struct slice name, struct slice *source)
{
    for (const struct partial *p = arg; p && p->name; p++)
        if (slice_eq(name, slice_cstr(p->name))) {
            *source = slice_cstr(p->text);
            return 0;
        }
    return ERR_NOTFOUND;
}

static struct liquid_pair pair(const char *key, struct liquid_value v)
{
    return (struct liquid_pair){liquid_string(slice_cstr(key)), v};
}

struct
try {
    enum liquid_escape escape;
    enum liquid_missing missing;
    const struct partial *partials;
    uint32_t max_steps;
    size_t max_output;
    bool walk; /* liquid_missing() instead of liquid_render() */
};

/* The result, or "error: TEXT"; valid until the next call. */
static struct slice result_of(const char *text, const struct try *t)
{
    static struct buf out;
    struct liquid_value tags[] = {liquid_string(S("a")), liquid_string(S("b"))};
    struct liquid_value list = {.type = LIQUID_ARRAY, .n = 2, .items = tags};
    struct liquid_pair inner[] = {pair("name", liquid_string(S("東京")))};
    struct liquid_value city = {.type = LIQUID_MAP, .n = 1, .pairs = inner};
    struct liquid_pair pairs[] = {pair("name", liquid_string(S("O'Neil & <Co> \"x\""))),
                                  pair("url", liquid_string(S("https://example.jp/a?b=1&c='2'"))),
                                  pair("bad", liquid_string(S("javascript:alert(1)"))),
                                  pair("word", liquid_string(S("東 京/1"))),
                                  pair("none", liquid_string(S(""))),
                                  pair("two\nlines", liquid_nil()),
                                  pair("lines", liquid_string(S("<a>\nb"))),
                                  pair("list", list),
                                  pair("city", city),
                                  pair("yes", liquid_bool(true)),
                                  pair("price", liquid_float(19.5))};
    struct liquid_value data = {.type = LIQUID_MAP, .n = COUNT(pairs), .pairs = pairs};
    struct slice names[8];
    size_t n = 0;
    for (const struct partial *p = t->partials; p && p->name; p++)
        names[n++] = slice_cstr(p->name);
    struct liquid_options o = {.name = "t.html",
                               .escape = t->escape,
                               .resolve = resolve,
                               .arg = (void *)(uintptr_t)t->partials,
                               .partials = names,
                               .npartials = n};
    struct liquid_input in = {
        .data = &data, .missing = t->missing, .max_steps = t->max_steps, .max_output = t->max_output};
    struct arena a = {0};
    struct err e = {0};
    struct liquid *program = NULL;
    buf_clear(&out);
    int rc = liquid_compile(slice_cstr(text), &o, &program, &e);
    if (!rc)
        rc = t->walk ? liquid_missing(program, &in, &a, &e) : liquid_render(program, &in, &a, &out, &e);
    if (rc) {
        buf_clear(&out);
        buf_printf(&out, "error: %s", e.text);
    }
    liquid_free(program);
    arena_free(&a);
    struct slice got = buf_slice(&out);
    return got;
}

static struct slice html(const char *text)
{
    return result_of(text, &(struct try){.escape = LIQUID_ESCAPE_HTML});
}

static struct slice plain(const char *text)
{
    return result_of(text, &(struct try){0});
}

#define CHECK_ROWS(function, rows)                                                                           \
    for (size_t i_ = 0; i_ < COUNT(rows); i_++) {                                                            \
        struct slice got_ = function(rows[i_].in), want_ = slice_cstr(rows[i_].want);                        \
        if (!slice_eq(got_, want_))                                                                          \
            test_fail(__FILE__, __LINE__, "%s\n  got  %.*s\n  want %s", rows[i_].in, SLICE_FMT(got_),        \
                      rows[i_].want);                                                                        \
    }
struct row {
    const char *in, *want;
};

TEST(liquid_escapes_by_place)
{
    static const struct row rows[] = {
        {"<p>{{ name }}</p>", "<p>O&#39;Neil &amp; &lt;Co&gt; &quot;x&quot;</p>"},
        {"<p title=\"{{ name }}\">", "<p title=\"O&#39;Neil &amp; &lt;Co&gt; &quot;x&quot;\">"},
        {"<a href=\"{{ url }}\">", "<a href=\"https://example.jp/a?b=1&amp;c=&#39;2&#39;\">"},
        {"<a href=' {{ url }}'>", "<a href=' https://example.jp/a?b=1&amp;c=&#39;2&#39;'>"},
        {"<a href=\"https://x/{{ word }}?{{ word }}\">",
         "<a href=\"https://x/%E6%9D%B1%20%E4%BA%AC%2F1?%E6%9D%B1%20%E4%BA%AC%2F1\">"},
        {"<A HREF = \"{{ url }}{{ word }}\">",
         "<A HREF = \"https://example.jp/a?b=1&amp;c=&#39;2&#39;%E6%9D%B1%20%E4%BA%AC%2F1\">"},
        {"<a href=\"https://x/?q={{ word | url_encode }}\">",
         "<a href=\"https://x/?q=%E6%9D%B1+%E4%BA%AC%2F1\">"},
        {"<a href=\"{{ url | escape }}\">", "<a href=\"https://example.jp/a?b=1&amp;c=&#39;2&#39;\">"},
        {"{{ name | escape }}", "O&#39;Neil &amp; &lt;Co&gt; &quot;x&quot;"},
        {"{{ name | raw }}", "O'Neil & <Co> \"x\""},
        {"<script>var a = {{ name | raw }};</script>{{ none }}",
         "<script>var a = O'Neil & <Co> \"x\";</script>"},
        {"{{ lines | newline_to_br }}", "&lt;a&gt;<br />\nb"},
        {"{{ lines | escape | newline_to_br }}", "&lt;a&gt;<br />\nb"},
        {"{{ lines | escape | strip | newline_to_br }}", "&lt;a&gt;<br />\nb"},
        {"{% capture x %}<b>{{ name }}</b>{% endcapture %}{{ x }}<i title='{{ x }}'>",
         "<b>O&#39;Neil &amp; &lt;Co&gt; &quot;x&quot;</b><i title='&lt;b&gt;O&#39;Neil &amp; &lt;Co&gt; "
         "&quot;x&quot;&lt;/b&gt;'>"},
        {"{% capture x %}https://x/{{ word }}?a={{ name }}{% endcapture %}<a href=\"{{ x }}\">",
         "<a href=\"https://x/%E6%9D%B1%20%E4%BA%AC/1?a=O&#39;Neil%20&amp;%20%3CCo%3E%20%22x%22\">"},
        {"<title>{{ name }}</title>", "<title>O&#39;Neil &amp; &lt;Co&gt; &quot;x&quot;</title>"},
        {"<!-- note --><p>{{ yes }}</p><!--[if mso]><a href=\"{{ url }}\"><![endif]-->",
         "<!-- note --><p>true</p><!--[if mso]><a "
         "href=\"https://example.jp/a?b=1&amp;c=&#39;2&#39;\"><![endif]-->"},
        {"<style>p { color: red }</style>{{ yes }}", "<style>p { color: red }</style>true"},
        {"<a href=\"{{ nothing }}\">", "<a href=\"\">"},
        {"a < b {{ yes }}", "a < b true"},
        {"<td width={{ price | raw }} class=\"{{ yes }}\" {{ none | raw }} title='{{ yes }}'>",
         "<td width=19.5 class=\"true\"  title='true'>"},
        {"{% capture x %} <b>{{ none }}&amp;</b> {% endcapture %}{{ x | strip }}", "<b>&amp;</b>"},
    };
    CHECK_ROWS(html, rows);
}

TEST(liquid_refuses_values_where_they_cannot_be_safe)
{
    static const struct row rows[] = {
        {"<a href={{ url }}>", "error: t.html:1:9: a value cannot be made safe in an attribute without "
                               "quotes; move it, or add '| raw' if it is safe already"},
        {"<p\n {{ name }}>", "error: t.html:2:2: a value cannot be made safe among a tag's attributes; move "
                             "it, or add '| raw' if it is safe already"},
        {"<{{ name }}>", "error: t.html:1:2: a value cannot be made safe in a tag's name; move it, or add '| "
                         "raw' if it is safe already"},
        {"<p onclick=\"{{ name }}\">",
         "error: t.html:1:13: a value cannot be made safe in an attribute that holds script or style; move "
         "it, or add '| raw' if it is safe already"},
        {"<a href=\"javascript:f({{ name }})\">",
         "error: t.html:1:23: a value cannot be made safe in an attribute that holds script or style; move "
         "it, or add '| raw' if it is safe already"},
        {"<script>{{ name }}</script>", "error: t.html:1:9: a value cannot be made safe inside script; move "
                                        "it, or add '| raw' if it is safe already"},
        {"<style>{{ name }}</style>", "error: t.html:1:8: a value cannot be made safe inside style; move it, "
                                      "or add '| raw' if it is safe already"},
        {"<!-- {{ name }} -->", "error: t.html:1:6: a value cannot be made safe inside an HTML comment; move "
                                "it, or add '| raw' if it is safe already"},
        {"<a href=\"{% if yes %}https://x/{% endif %}{{ word }}\">",
         "error: t.html:1:43: a value cannot be made safe where the branches before it end in different "
         "places of the HTML; move it, or add '| raw' if it is safe already"},
        {"<a href=\"{% for x in list %}{{ x }}/{% endfor %}\">",
         "error: t.html:1:29: a value cannot be made safe where the branches before it end in different "
         "places of the HTML; move it, or add '| raw' if it is safe already"},
        {"<a href=\"{{ bad }}\">", "error: t.html:1:10: 'bad' is no link here: 'javascript:alert(1)' does "
                                   "not begin with http:, https:, mailto: or tel:"},
        {"<a href=\"{{ name | raw | upcase }}\">", "error: t.html:1:26: 'raw' must be the last filter"},
    };
    CHECK_ROWS(html, rows);
}

TEST(liquid_follows_html_through_branches)
{
    static const struct row rows[] = {
        {"<a href=\"{% if yes %}https://x/{% else %}https://y/{% endif %}{{ word }}\">",
         "<a href=\"https://x/%E6%9D%B1%20%E4%BA%AC%2F1\">"},
        {"<a {% if yes %}href=\"{{ url }}\"{% else %}title=\"{{ name }}\"{% endif %}>{{ yes }}",
         "<a href=\"https://example.jp/a?b=1&amp;c=&#39;2&#39;\">true"},
        {"{% for x in list %}<b>{{ x }}{% if x == 'a' %}{% continue %}{% endif %}</b>{% endfor %}",
         "<b>a<b>b</b>"},
        {"<p title=\"{% case yes %}{% when true %}a{% when 1, 2 %}b{% else %}c{% endcase %}{{ name }}\">",
         "<p title=\"aO&#39;Neil &amp; &lt;Co&gt; &quot;x&quot;\">"},
    };
    CHECK_ROWS(html, rows);
}

TEST(liquid_compiles_partials_for_their_place)
{
    static const struct partial partials[] = {
        {"v", "{{ word }}"},
        {"open", "<p title=\""},
        {"attr", "<a href=\"{% include 'v' %}"},
        {"self", "{% if n %}{{ n.name }}{% endif %}{% assign m = n.next %}{% if m %}{% include 'self' with m "
                 "as n %}{% endif %}"},
        {NULL, NULL}};
    struct try t = {.escape = LIQUID_ESCAPE_HTML, .partials = partials};
    CHECK_STR(result_of("{% include 'v' %}<a href=\"https://x/{% include 'v' %}\">", &t),
              S("東 京/1<a href=\"https://x/%E6%9D%B1%20%E4%BA%AC%2F1\">"));
    CHECK_STR(result_of("{% include 'open' %}{{ name }}\">", &t),
              S("<p title=\"O&#39;Neil &amp; &lt;Co&gt; &quot;x&quot;\">"));
    CHECK_STR(result_of("{% include 'attr' %}", &t), S("error: v:1:1: 'word' is no link here: '東 京/1' does "
                                                       "not begin with http:, https:, mailto: or tel:"));
    CHECK_STR(result_of("{% assign n = city %}{% include 'self' %}", &t), S("東京"));
    CHECK_STR(result_of("{% assign p = 'v' %}{% include p %}", &t), S("東 京/1"));
    CHECK_STR(result_of("{% include 'w' %}", &t), S("error: t.html:1:13: there is no partial 'w'"));
}

TEST(liquid_names_what_is_missing)
{
    static const struct row rows[] = {
        {"Dear {{ name }}{{ none }}", ""},
        {"Dear\n  {{ nobody }}", "error: t.html:2:3: 'nobody' is missing and has no default"},
        {"{{ city.name }} {{ city.zip }}", "error: t.html:1:17: 'city.zip' is missing and has no default"},
        {"{{ nobody | default: 'you' }}", ""},
        {"{{ nobody | upcase }}", "error: t.html:1:1: 'nobody' is missing and has no default"},
        {"{{ nobody | upcase | default: 'you' }}", ""},
        {"{{ nobody | default: name }}", ""},
        {"{{ nobody | default: nothing }}", "error: t.html:1:1: 'nobody' is missing and has no default"},
        {"{{ nobody | size }}", ""},
        {"{% if nobody %}{{ nobody }}{% endif %}{% for x in nobody %}{{ x }}{% endfor %}", ""},
        {"{% for x in list %}{{ x }}{{ x.more }}{% endfor %}",
         "error: t.html:1:27: 'x.more' is missing and has no default"},
        {"{{ 'Dear ' | append: nobody }}", "error: t.html:1:1: 'nobody' is missing and has no default"},
        {"{% assign n = nobody | upcase %}{{ n }}", "error: t.html:1:33: 'n' is missing and has no default"},
        {"{% assign n = nobody | default: 'x' %}{{ n }}", ""},
        {"{% capture n %}{{ nobody }}{% endcapture %}",
         "error: t.html:1:16: 'nobody' is missing and has no default"},
        {"<a href=\"{{ bad }}\">", "error: t.html:1:10: 'bad' is no link here: 'javascript:alert(1)' does "
                                   "not begin with http:, https:, mailto: or tel:"},
        {"<a href=\"{{ none }}\">",
         "error: t.html:1:10: 'none' is no link here: '' does not begin with http:, https:, mailto: or tel:"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct try walk = {.escape = LIQUID_ESCAPE_HTML, .walk = true};
        struct try strict = {.escape = LIQUID_ESCAPE_HTML, .missing = LIQUID_MISSING_ERROR};
        CHECK_STR(result_of(rows[i].in, &walk), slice_cstr(rows[i].want));
        /* A strict render fails exactly where the walk does. */
        bool failed = slice_starts(result_of(rows[i].in, &strict), S("error: "));
        CHECK(failed == (rows[i].want[0] != 0));
        if (failed)
            CHECK_STR(result_of(rows[i].in, &strict), slice_cstr(rows[i].want));
    }
}

TEST(liquid_errors_say_where_and_what_would_be_right)
{
    static const struct row rows[] = {
        {"a\n {% fro x in y %}", "error: t.html:2:2: unknown tag 'fro'; did you mean 'for'?"},
        {"日本 {{ a | upcas }}", "error: t.html:1:11: unknown filter 'upcas'; did you mean 'upcase'?"},
        {"{% if a %}{% endfor %}", "error: t.html:1:11: 'endfor' does not close 'if'; 'endif' does"},
        {"x{% if a %}", "error: t.html:1:2: 'if' is never closed by 'endif'"},
        {"{{ a", "error: t.html:1:1: {{ is not closed by }}"},
        {"{% if a", "error: t.html:1:1: {% is not closed by %}"},
        {"{{ a b }}", "error: t.html:1:6: unexpected 'b'"},
        {"{{ a | append }}", "error: t.html:1:8: the filter 'append' needs an argument"},
        {"{{ a | upcase: 1 }}", "error: t.html:1:16: the filter 'upcase' takes no argument"},
        {"{% for x in list limits:1 %}{% endfor %}",
         "error: t.html:1:18: unexpected 'limits'; for knows limit, offset and reversed"},
        {"{{ 1 | divided_by: 0 }}", "error: t.html:1:1: divided by 0"},
        {"{% liquid\n echo yes\n fi x\n%}", "error: t.html:3:2: unknown tag 'fi'; did you mean 'if'?"},
        {"{{ 99999999999999999999 }}", "error: t.html:1:4: 99999999999999999999 is too large a number"},
        {"{{ 9223372036854775806 | plus: 2 }}", "error: t.html:1:1: the result is too large a number"},
    };
    CHECK_ROWS(plain, rows);
}

TEST(liquid_budgets_stop_runaway_templates)
{
    struct try steps = {.max_steps = 1000}, output = {.max_output = 1000}, none = {0};
    CHECK_STR(result_of("{% for i in (1..1000000) %}{% endfor %}", &steps),
              S("error: t.html:1:28: the template takes too many steps"));
    CHECK_STR(result_of("{% for i in (1..1000) %}xx{% endfor %}", &output),
              S("error: t.html:1:25: the output is too long"));
    CHECK_STR(
        result_of("{% assign a = 'x' %}{% for i in (1..99) %}{% assign a = a | append: a %}{% endfor %}",
                  &output),
        S("error: t.html:1:43: the template needs too much memory"));
    CHECK(slice_starts(result_of("{{ (1..100000000) | join }}", &none), S("error: ")));
    static const struct partial loop[] = {{"a", "{% include 'a' %}"}, {NULL, NULL}};
    CHECK_STR(result_of("{% include 'a' %}", &(struct try){.partials = loop}),
              S("error: a:1:1: partials are nested more than 100 deep"));
}

TEST(liquid_calculates_in_decimal)
{
    static const struct row rows[] = {
        {"{{ 0.1 | plus: 0.2 }}", "0.3"},
        {"{{ 20 | divided_by: 7.0 }}", "2.857142857142857"},
        {"{{ 10 | divided_by: 3.0 }}", "3.3333333333333335"},
        {"{{ -7 | divided_by: 2 }} {{ -7 | modulo: 2 }}", "-4 1"},
        {"{{ 1.005 | times: 1000 }}", "1005.0"},
        {"{{ price | times: 1.08 | round: 2 }}", "21.06"},
        {"{{ 2.5 | round }} {{ -2.5 | round }} {{ 1234 | round: -2 }}", "3 -3 1200"},
        {"{{ 1.2 | ceil }} {{ -1.2 | floor }}", "2 -2"},
        {"{{ 10000000000000000.0 }} {{ 0.00001 }} {{ 100.0 }}", "1.0e+16 1.0e-05 100.0"},
        {"{{ 3.7 | modulo: 1.2 }}", "0.1"},
    };
    CHECK_ROWS(plain, rows);
}

TEST(liquid_reads_and_prints_dates)
{
    static const struct row rows[] = {
        {"{{ 0 | date: '%Y-%m-%d %H:%M:%S %z %Z' }}", "1970-01-01 00:00:00 +0000 UTC"},
        {"{{ '2016-02-29 13:05:09 +0900' | date: '%a, %d %b %Y %T %z' }}", "Mon, 29 Feb 2016 13:05:09 +0900"},
        {"{{ 'March 14, 2016' | date: '%b %d, %y' }}", "Mar 14, 16"},
        {"{{ '14 Mar 2016 10pm' | date: '%I:%M %p %-d %e %j %U %V %u' }}", "10:00 PM 14 14 074 11 11 1"},
        {"{{ 'Fri Jul 16 01:00:00 2004' | date: '%m/%d/%Y %k %l' }}", "07/16/2004  1  1"},
        {"{{ '2016-01-03T04:05:06.789Z' | date: '%G-W%V %L %3N %10Y %^a %s' }}",
         "2015-W53 789 789 0000002016 SUN 1451793906"},
        {"{{ 'nonsense' | date: '%Y' }} {{ '' | date: '%Y' }}", "nonsense "},
        {"{{ -1 | date: '%F %T' }} {{ 951782400 | date: '%F' }}", "1969-12-31 23:59:59 2000-02-29"},
        {"{{ 0 | date: '%q %' }}", "%q %"},
    };
    CHECK_ROWS(plain, rows);
}

static int tokyo(void *arg, int64_t unix_s)
{
    return 9 * 3600;
}

TEST(liquid_renders_from_slots_in_a_zone)
{
    struct liquid *p = NULL;
    struct err e = {0};
    struct arena a = {0};
    struct buf out = {0};
    struct liquid_value slots[8] = {{0}};
    CHECK_INT(
        liquid_compile(S("{{ name }} {{ at | date: '%H:%M' }} {{ 'now' | date: '%F %R %z' }}"), NULL, &p, &e),
        0);
    CHECK(liquid_slots(p) <= COUNT(slots));
    for (size_t i = 0; i < liquid_slots(p); i++) {
        if (slice_eq(liquid_slot_name(p, i), S("name")))
            slots[i] = liquid_string(S("太郎"));
        if (slice_eq(liquid_slot_name(p, i), S("at")))
            slots[i] = liquid_string(S("2026-07-01 10:00"));
    }
    struct liquid_input in = {.slots = slots, .now_unix_s = 1782864000, .offset_at = tokyo};
    CHECK_INT(liquid_render(p, &in, &a, &out, &e), 0);
    CHECK_STR(buf_slice(&out), S("太郎 10:00 2026-07-01 09:00 +0900"));
    CHECK_INT(liquid_missing(p, &in, &a, &e), 0);
    buf_free(&out);
    arena_free(&a);
    liquid_free(p);
}

TEST(liquid_changes_case_beyond_ascii)
{
    static const struct row rows[] = {
        {"{{ 'straße ÀÉ ﾊﾞ ａｂ Жж Ωω' | upcase }}", "STRASSE ÀÉ ﾊﾞ ＡＢ ЖЖ ΩΩ"},
        {"{{ 'ÀÉ ＡＢ ЖЁ ΩŸ' | downcase }}", "àé ａｂ жё ωÿ"},
        {"{{ 'éCOLE' | capitalize }}", "École"},
    };
    CHECK_ROWS(plain, rows);
}

TEST(liquid_filters_of_lists_take_a_single_value_as_ruby_does)
{
    static const struct row rows[] = {
        {"{{ '東京' | map: 1 }}{{ '東京' | map: -2 }}{{ '東京' | map: 2 }}", "京東"},
        {"{{ 'ab' | where: 0 }}|{{ 'ab' | where: 5 }}|{{ 'ab' | compact: 1 }}", "ab||ab"},
        {"{{ 'ab' | uniq: 2.5 }}{{ 7 | sort: 'k' }}{{ 'ab' | sort_natural: list }}", "ab7ab"},
        {"{{ 7 | map: 'k' }}", "error: t.html:1:1: cannot select the property 'k'"},
        {"{{ '7,8' | split: ',' | sort: 2.5 }}", "error: t.html:1:1: cannot select the property '2.5'"},
        {"{{ 'abc' | slice: 1, false }}", "b"},
    };
    CHECK_ROWS(plain, rows);
}
