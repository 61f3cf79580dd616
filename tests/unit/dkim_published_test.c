/* dkim_published_test.c - the TXT record of a selector, held against the key on disk. */
#include "format/dkim_published.h"
#include "test.h"

#define ED "p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="

TEST(a_key_record_is_held_against_the_key_on_disk)
{
    static const struct {
        const char *record;
        enum dkim_published is;
        bool testing;
    } cases[] = {
        {"v=DKIM1; k=ed25519; " ED, DKIM_PUBLISHED, false},
        {"k=ed25519;" ED ";", DKIM_PUBLISHED, false}, /* v is a must of nobody */
        {" v = DKIM1 ; k = ED25519 ; p = 11qYAYKxCrfVS/7T yWQHOg7hcvP\tapiMlrwIaaPcHURo= ", DKIM_PUBLISHED,
         false},
        {"v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo", DKIM_PUBLISHED_OTHER, false},
        {"v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=x", DKIM_PUBLISHED_OTHER, false},
        {"v=DKIM1; k=ed25519; p=21qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=", DKIM_PUBLISHED_OTHER, false},
        {"v=DKIM1; " ED, DKIM_PUBLISHED_OTHER, false}, /* rsa, where k does not say */
        {"v=DKIM1; k=rsa; " ED, DKIM_PUBLISHED_OTHER, false},
        {"v=DKIM1; k=ed25519; p=", DKIM_PUBLISHED_REVOKED, false},
        {"v=DKIM1; k=ed25519; h=sha1; " ED, DKIM_PUBLISHED_UNFIT, false},
        {"v=DKIM1; k=ed25519; h=sha1:SHA256; " ED, DKIM_PUBLISHED, false},
        {"v=DKIM1; k=ed25519; h=*; " ED, DKIM_PUBLISHED, false},
        {"v=DKIM1; k=ed25519; s=tlsrpt; " ED, DKIM_PUBLISHED_UNFIT, false},
        {"v=DKIM1; k=ed25519; s=tlsrpt : email; " ED, DKIM_PUBLISHED, false},
        {"v=DKIM1; k=ed25519; s=*; " ED, DKIM_PUBLISHED, false},
        {"v=DKIM1; k=ed25519; t=y; " ED, DKIM_PUBLISHED, true},
        {"v=DKIM1; k=ed25519; t=s:y; " ED, DKIM_PUBLISHED, true},
        {"v=DKIM1; k=ed25519; t=s; " ED, DKIM_PUBLISHED, false},
        {"v=DKIM2; k=ed25519; " ED, DKIM_PUBLISHED_NO_KEY, false},
        {"v=spf1 -all", DKIM_PUBLISHED_NO_KEY, false},
        {"P=x", DKIM_PUBLISHED_NO_KEY, false}, /* names of tags have their case */
        {"", DKIM_PUBLISHED_NO_KEY, false},
    };
    struct dkim_key *ed = NULL;
    struct err e;
    CHECK_INT(dkim_key_load(test_file("tests/golden/dkim/rfc8463-ed.key"), &ed, &e), 0);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct dkim_look look = dkim_published_look(slice_cstr(cases[i].record), ed);
        if (look.is != cases[i].is || look.testing != cases[i].testing)
            test_fail(__FILE__, __LINE__, "\"%s\": got %d%s, want %d%s", cases[i].record, look.is,
                      look.testing ? ", a test" : "", cases[i].is, cases[i].testing ? ", a test" : "");
    }
    dkim_key_free(ed);
}
