/* log.c - see log.h. */
#include "platform/log.h"
#include "base/err.h"
#include "format/text.h"

static const char *const level_names[] = {"error", "warn", "info", "debug"};

int log_level_parse(struct slice name, enum log_level *out)
{
    for (size_t i = 0; i < COUNT(level_names); i++)
        if (slice_eq(name, slice_cstr(level_names[i]))) {
            *out = (enum log_level)i;
            return 0;
        }
    return ERR_NOTFOUND;
}

bool log_wants(const struct log *log, enum log_level level)
{
    return level <= log->level;
}

void log_line(struct log *log, enum log_level level, const char *room, const char *fmt, ...)
{
    struct buf *b = &log->scratch, text = {0};
    va_list ap;
    if (!log_wants(log, level))
        return;
    va_start(ap, fmt);
    buf_vprintf(&text, fmt, ap);
    va_end(ap);
    buf_clear(b);
    text_time(b, loop_wall_ms(log->loop));
    buf_printf(b, " level=%s room=%s ", level_names[level], room);
    text_safe(b, buf_slice(&text));
    buf_addc(b, '\n');
    if (log->before)
        log->before(log->data);
    /* A log that cannot be written has nobody left to be told. */
    fwrite(b->p, 1, b->n, log->to ? log->to : stderr);
    fflush(log->to ? log->to : stderr);
    buf_free(&text);
}

static bool is_plain(struct slice v)
{
    for (size_t i = 0; i < v.n; i++)
        if ((unsigned char)v.p[i] <= 0x20 || v.p[i] == '"' || v.p[i] == '=' || v.p[i] == '\\' ||
            v.p[i] == 0x7f)
            return false;
    return v.n > 0;
}

void log_value(struct buf *out, const char *key, struct slice value)
{
    if (out->n)
        buf_addc(out, ' ');
    buf_adds(out, slice_cstr(key));
    buf_addc(out, '=');
    if (is_plain(value)) {
        buf_adds(out, value);
        return;
    }
    buf_addc(out, '"');
    for (size_t i = 0; i < value.n; i++) {
        if (value.p[i] == '"' || value.p[i] == '\\')
            buf_addc(out, '\\');
        buf_addc(out, value.p[i]);
    }
    buf_addc(out, '"');
}

void log_free(struct log *log)
{
    buf_free(&log->scratch);
}
