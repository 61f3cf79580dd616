/* reply_class.c - see reply_class.h. */
#include "format/reply_class.h"
#include "base/err.h"
#include "base/words.h"

/* unknown and not_accepting have here what holds without a 5xx. */
static const struct {
    const char *name;
    enum class_kind kind;
    enum report_category report;
    enum class_group group;
} classes[CLASS_COUNT] = {
    [CLASS_UNKNOWN] = {"unknown", KIND_SOFT, REPORT_UNKNOWN, GROUP_UNKNOWN},
    [CLASS_NO_SUCH_USER] = {"no_such_user", KIND_HARD, REPORT_NO_USER, GROUP_INVALID_RECIPIENT},
    [CLASS_MOVED] = {"moved", KIND_HARD, REPORT_NO_USER, GROUP_INVALID_RECIPIENT},
    [CLASS_NO_SUCH_DOMAIN] = {"no_such_domain", KIND_HARD, REPORT_NO_DOMAIN, GROUP_INVALID_RECIPIENT},
    [CLASS_NOT_ACCEPTING] = {"not_accepting", KIND_SOFT, REPORT_NO_DOMAIN, GROUP_INVALID_RECIPIENT},
    [CLASS_INACTIVE] = {"inactive", KIND_SOFT, REPORT_TEMPORARY_UNKNOWN, GROUP_INACTIVE_OR_FULL},
    [CLASS_MAILBOX_FULL] = {"mailbox_full", KIND_SOFT, REPORT_MAILBOX_FULL, GROUP_INACTIVE_OR_FULL},
    [CLASS_FILTERED] = {"filtered", KIND_BLOCK, REPORT_REFUSED, GROUP_FILTERED},
    [CLASS_BLOCKED] = {"blocked", KIND_BLOCK, REPORT_REFUSED, GROUP_REPUTATION_BLOCK},
    [CLASS_LOW_REPUTATION] = {"low_reputation", KIND_BLOCK, REPORT_REFUSED, GROUP_REPUTATION_BLOCK},
    [CLASS_SENDER_REJECTED] = {"sender_rejected", KIND_BLOCK, REPORT_REFUSED, GROUP_REPUTATION_BLOCK},
    [CLASS_NO_PTR] = {"no_ptr", KIND_BLOCK, REPORT_REFUSED, GROUP_REPUTATION_BLOCK},
    [CLASS_AUTH_FAILED] = {"auth_failed", KIND_BLOCK, REPORT_REFUSED, GROUP_REPUTATION_BLOCK},
    [CLASS_RATE_LIMITED] = {"rate_limited", KIND_BLOCK, REPORT_REFUSED, GROUP_RATE},
    [CLASS_TOO_MANY_CONNECTIONS] = {"too_many_connections", KIND_BLOCK, REPORT_REFUSED, GROUP_RATE},
    [CLASS_POLICY] = {"policy", KIND_BLOCK, REPORT_REFUSED, GROUP_POLICY},
    [CLASS_SECURITY] = {"security", KIND_BLOCK, REPORT_REFUSED, GROUP_POLICY},
    [CLASS_RELAYING_DENIED] = {"relaying_denied", KIND_SOFT, REPORT_REFUSED, GROUP_POLICY},
    [CLASS_TLS_FAILED] = {"tls_failed", KIND_SOFT, REPORT_CONNECTION, GROUP_POLICY},
    [CLASS_SPAM] = {"spam", KIND_BLOCK, REPORT_REFUSED, GROUP_CONTENT},
    [CLASS_VIRUS] = {"virus", KIND_BLOCK, REPORT_REFUSED, GROUP_CONTENT},
    [CLASS_CONTENT] = {"content", KIND_BLOCK, REPORT_REFUSED, GROUP_CONTENT},
    [CLASS_NOT_RFC] = {"not_rfc", KIND_BLOCK, REPORT_REFUSED, GROUP_CONTENT},
    [CLASS_TOO_LARGE] = {"too_large", KIND_SOFT, REPORT_TOO_LARGE, GROUP_CONTENT},
    [CLASS_OVER_LIMIT] = {"over_limit", KIND_SOFT, REPORT_TOO_LARGE, GROUP_CONTENT},
    [CLASS_NETWORK] = {"network", KIND_SOFT, REPORT_CONNECTION, GROUP_TRANSIENT_OR_SYSTEM},
    [CLASS_GREYLISTED] = {"greylisted", KIND_SOFT, REPORT_TEMPORARY_UNKNOWN, GROUP_TRANSIENT_OR_SYSTEM},
    [CLASS_SYSTEM] = {"system", KIND_SOFT, REPORT_TEMPORARY_UNKNOWN, GROUP_TRANSIENT_OR_SYSTEM},
    [CLASS_SYSTEM_FULL] = {"system_full", KIND_SOFT, REPORT_TEMPORARY_UNKNOWN, GROUP_TRANSIENT_OR_SYSTEM},
    [CLASS_MAILER] = {"mailer", KIND_SOFT, REPORT_TEMPORARY_UNKNOWN, GROUP_TRANSIENT_OR_SYSTEM},
    [CLASS_PROTOCOL] = {"protocol", KIND_SOFT, REPORT_TEMPORARY_UNKNOWN, GROUP_TRANSIENT_OR_SYSTEM},
    [CLASS_EXPIRED] = {"expired", KIND_SOFT, REPORT_CONNECTION, GROUP_TRANSIENT_OR_SYSTEM},
    [CLASS_FEEDBACK] = {"feedback", KIND_NONE, REPORT_NOT_AN_ERROR, GROUP_NOT_A_BOUNCE},
    [CLASS_AUTO_REPLY] = {"auto_reply", KIND_NONE, REPORT_NOT_AN_ERROR, GROUP_NOT_A_BOUNCE},
    [CLASS_DELIVERED] = {"delivered", KIND_NONE, REPORT_NOT_AN_ERROR, GROUP_NOT_A_BOUNCE},
};

const char *class_name(enum reply_class c)
{
    return (unsigned)c < CLASS_COUNT ? classes[c].name : "?";
}

const char *class_kind_name(enum class_kind k)
{
    static const char *const names[] = {"none", "hard", "soft", "block"};
    return (unsigned)k < COUNT(names) ? names[k] : "?";
}

const char *class_group_name(enum class_group g)
{
    static const char *const names[] = {
        "unknown", "invalid_recipient", "inactive_or_full",    "filtered",    "reputation_block", "rate",
        "policy",  "content",           "transient_or_system", "not_a_bounce"};
    return (unsigned)g < COUNT(names) ? names[g] : "?";
}

int class_parse(struct slice name, enum reply_class *out)
{
    for (int i = 0; i < CLASS_COUNT; i++)
        if (slice_eq(name, slice_cstr(classes[i].name))) {
            *out = (enum reply_class)i;
            return 0;
        }
    return ERR_NOTFOUND;
}

struct slice class_near(struct slice word)
{
    struct slice names[CLASS_COUNT];

    for (int i = 0; i < CLASS_COUNT; i++)
        names[i] = slice_cstr(classes[i].name);
    return words_near(word, names, CLASS_COUNT);
}

enum class_group class_group_of(enum reply_class c)
{
    INVARIANT((unsigned)c < CLASS_COUNT);
    return classes[c].group;
}

enum class_kind class_kind_of(enum reply_class c, int code)
{
    INVARIANT((unsigned)c < CLASS_COUNT);
    if ((c == CLASS_UNKNOWN || c == CLASS_NOT_ACCEPTING) && code / 100 == 5)
        return KIND_HARD;
    return classes[c].kind;
}

enum report_category class_report_of(enum reply_class c, int code)
{
    INVARIANT((unsigned)c < CLASS_COUNT);
    if (c == CLASS_UNKNOWN && code / 100 == 5)
        return REPORT_PERMANENT_UNKNOWN;
    if (c == CLASS_UNKNOWN && code / 100 == 4)
        return REPORT_TEMPORARY_UNKNOWN;
    return classes[c].report;
}

static const struct {
    const char *en, *ja;
} labels[REPORT_COUNT] = {
    [REPORT_NO_USER] = {"permanent: no such user", "永続エラー: ユーザー不明(@の前)"},
    [REPORT_NO_DOMAIN] = {"permanent: no such domain", "永続エラー: ドメイン不明(@の後)"},
    [REPORT_PERMANENT_UNKNOWN] = {"permanent: unknown", "永続エラー: その他"},
    [REPORT_CONNECTION] = {"temporary: connection failed", "一時エラー: 接続失敗"},
    [REPORT_MAILBOX_FULL] = {"temporary: mailbox full", "一時エラー: 受信箱の容量超過"},
    [REPORT_REFUSED] = {"temporary: refused", "一時エラー: 受信拒否(迷惑メール設定など)"},
    [REPORT_TOO_LARGE] = {"temporary: too large", "一時エラー: サイズ超過"},
    [REPORT_TEMPORARY_UNKNOWN] = {"temporary: unknown", "一時エラー: その他"},
    [REPORT_UNKNOWN] = {"unknown", "不明"},
};

const char *report_label_en(enum report_category r)
{
    return (unsigned)r < REPORT_COUNT ? labels[r].en : "not an error";
}

const char *report_label_ja(enum report_category r)
{
    return (unsigned)r < REPORT_COUNT ? labels[r].ja : "エラーではない";
}
