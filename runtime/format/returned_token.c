/* returned_token.c - see returned_token.h. */
#include "format/returned_token.h"
#include "base/err.h"

typedef int parse_fn(const struct verp_key *key, struct slice local, struct slice domain, uint64_t *id);

/* What stands in "<b-…@b.example.jp>", with or without the brackets. */
static enum returned_token token_of(const struct verp_key *key, parse_fn *parse, struct slice text,
                                    uint64_t *id)
{
    struct slice rest, domain, local;
    text = slice_trim(text);
    if (slice_starts(text, S("<")))
        text = slice_cut(slice_of(text.p + 1, text.n - 1), '>', &rest);
    local = slice_cut(text, '@', &domain);
    switch (parse(key, local, domain, id)) {
    case 0:
        return RETURNED_TOKEN_HOLDS;
    case ERR_SYNTAX:
        return RETURNED_TOKEN_NONE;
    default:
        return RETURNED_TOKEN_FORGED;
    }
}

enum returned_token returned_token(const struct verp_key *key, struct slice envelope_to,
                                   const struct returned *r, uint64_t *id)
{
    bool is_report = r->format == RETURNED_DSN || r->format == RETURNED_ARF;
    struct place {
        parse_fn *parse;
        struct slice text;
    } places[1 + RETURNED_TO_MAX + 2];
    enum returned_token found = RETURNED_TOKEN_NONE;
    size_t n = 0;
    places[n++] = (struct place){verp_parse, envelope_to};
    for (size_t i = 0; i < r->nto; i++)
        places[n++] = (struct place){verp_parse, r->to[i]};
    if (is_report) {
        places[n++] = (struct place){verp_parse, r->original.return_path};
        places[n++] = (struct place){verp_parse_message_id, r->original.message_id};
    }
    for (size_t i = 0; i < n && found != RETURNED_TOKEN_HOLDS; i++) {
        enum returned_token t = token_of(key, places[i].parse, places[i].text, id);
        found = t > found ? t : found;
    }
    return found;
}
