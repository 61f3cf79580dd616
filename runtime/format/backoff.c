/* backoff.c - see backoff.h. */
#include "format/backoff.h"

#define SECOND ((int64_t)1000)
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)

enum { BUCKET_MINUTES = 60 / (BACKOFF_BUCKETS - 1), GROWTH_MOST = 10, GROWTH_DOUBTFUL = 3 };
static const int64_t WAIT_FIRST = 10 * SECOND, WAIT_MOST = 15 * MINUTE, WAIT_DOUBTFUL = 8 * MINUTE,
                     STEP = 5 * MINUTE, FEW_PER_DAY = 24 * 100, A_WHILE = 10 * MINUTE,
                     SLOW_PER_DAY = 24 * 250, AGAIN = 6 * HOUR, REST_FIRST = HOUR / 2, REST_MOST = 3 * HOUR,
                     FORGOTTEN = DAY;
static const uint32_t RECENT = (1u << BACKOFF_REPLIES) - 1;

/* --- what was taken in the last hour --- */

static void turn_buckets(struct backoff *b, int64_t now_ms)
{
    int64_t bucket = now_ms / (BUCKET_MINUTES * MINUTE), gone = bucket - b->bucket;
    if (gone < 0)
        return; /* the clock went back: the newest bucket takes it */
    for (int64_t i = 0; i < gone && i < BACKOFF_BUCKETS; i++)
        b->taken[(bucket - i) % BACKOFF_BUCKETS] = 0;
    b->bucket = bucket;
}

static int64_t taken_in_hour(struct backoff *b, int64_t now_ms)
{
    int64_t sum = 0, width = BUCKET_MINUTES * MINUTE;
    turn_buckets(b, now_ms);
    for (int i = 0; i < BACKOFF_BUCKETS; i++)
        sum += b->taken[i];
    /* The whole buckets make an hour, and the newest is partly filled. */
    return sum * HOUR / (HOUR + now_ms - now_ms / width * width);
}

/* --- learning --- */

static bool is_near(int64_t rate, int64_t other)
{
    return other && rate * 10 >= other * 9 && rate * 10 <= other * 11;
}

static void set_free(struct backoff *b)
{
    b->state = BACKOFF_FREE;
    b->per_day = b->borne = b->rest_ms = b->wait_ms = 0;
    b->recent = 0;
    b->trying = b->doubtful = b->once = false;
}

static void set_paced(struct backoff *b, int64_t per_day, int64_t now_ms)
{
    b->per_day = per_day > 1 ? per_day : 1;
    b->state = BACKOFF_PACED;
    b->growth = 0;
    b->wait_ms = 0;
    b->trying = false;
    b->step_ms = b->row_ms = now_ms;
    b->step_taken = b->row_taken = 0;
}

/* It opened again: what it bore, in mails a day, is a rate to keep. */
static void learn(struct backoff *b, int64_t now_ms)
{
    /* It opened at some time in the last wait. */
    int64_t row = now_ms - b->row_ms - b->wait_ms / 4, hour = taken_in_hour(b, now_ms) * 24;
    int64_t borne = row > 0 ? b->row_taken * DAY / row : hour;
    if (hour > borne)
        borne = hour;
    /* It was refused for growing. If the window is short, the step before was borne, and the last hour's
     * average lags behind; if it is long, it was not. The middle is near either, and the next row tells. What
     * the hour says twice is nearly so; and where a single refusal is one in a hundred, it is so. */
    int64_t above = b->growth > 1 && b->step_before > borne ? b->step_before - borne : 0;
    if (!is_near(borne, b->borne))
        borne += above / 2;
    else if (borne > FEW_PER_DAY)
        borne += above / 5;
    bool same = is_near(borne, b->borne);
    if (borne < 1)
        borne = 1;
    bool soon = row < STEP;
    if (!same)
        b->rest_ms = REST_FIRST;
    else if (!soon)
        b->rest_ms = b->rest_ms * 2 < REST_MOST ? b->rest_ms * 2 : REST_MOST;
    int64_t to = borne * 95 / 100;
    if (soon && b->per_day && b->per_day * 9 / 10 < to)
        to = b->per_day * 9 / 10; /* it was too much again at once */
    b->borne = borne;
    set_paced(b, to, now_ms);
}

/* Whoever was shut in an earlier process: nobody knows what it took before that. */
static void go_on(struct backoff *b, int64_t now_ms)
{
    int64_t most = b->borne * 95 / 100;
    b->row_ms = now_ms;
    if (b->borne)
        set_paced(b, b->per_day < most ? b->per_day : most, now_ms);
    else
        set_free(b);
}

bool backoff_took(struct backoff *b, int64_t now_ms)
{
    /* What was under way when it was shut says that there was room before, not that there is again. */
    bool opened = b->state == BACKOFF_SHUT && now_ms >= b->until_ms;
    turn_buckets(b, now_ms);
    b->taken[b->bucket % BACKOFF_BUCKETS]++;
    b->recent = b->recent << 1 & RECENT;
    if (!b->began) {
        b->began = true;
        b->row_ms = now_ms;
    }
    b->row_taken++;
    b->step_taken++;
    if (opened && b->once) {
        b->once_ms = b->row_ms = now_ms;
        b->row_taken = 1;
        set_free(b);
    } else if (opened && !b->row_ms) {
        go_on(b, now_ms);
    } else if (opened) {
        learn(b, now_ms);
    }
    return opened;
}

static void shut(struct backoff *b, int64_t now_ms)
{
    /* Grown fast, it has more to wait for. */
    int64_t wait = b->wait_ms * 2, least = (2 + b->growth / 2) * backoff_interval_ms(b),
            most = b->doubtful ? WAIT_DOUBTFUL : WAIT_MOST;
    if (b->state != BACKOFF_SHUT)
        wait = least > WAIT_FIRST ? least : WAIT_FIRST;
    b->wait_ms = wait < most ? wait : most;
    b->until_ms = now_ms + b->wait_ms;
    b->state = BACKOFF_SHUT;
    b->trying = false;
}

bool backoff_is_taking(struct backoff *b, int64_t now_ms)
{
    if (b->state == BACKOFF_FREE)
        return b->began && now_ms - b->row_ms >= A_WHILE && backoff_recent_per_day(b, now_ms) > 0;
    return taken_in_hour(b, now_ms) > 0;
}

/* The answer that is counted already is as many of such as it takes. */
static bool is_enough(const struct backoff *b, enum backoff_sign sign, int64_t now_ms)
{
    const uint32_t three_in_a_row = 7;
    int hits = __builtin_popcount(b->recent);
    if (sign == BACKOFF_DOUBTFUL) {
        if (!b->doubtful)
            return doubt_ran_dry(&b->doubt, now_ms);
        if (b->state == BACKOFF_PACED && doubt_is_of_persons(&b->doubt))
            return doubt_is_of_many(&b->doubt);
    }
    if (b->state == BACKOFF_FREE)
        return sign == BACKOFF_MAY_ASK ? (b->recent & three_in_a_row) == three_in_a_row
                                       : hits >= BACKOFF_HITS;
    return sign == BACKOFF_ASKS || b->state == BACKOFF_SHUT || b->per_day <= SLOW_PER_DAY || hits >= 2;
}

bool backoff_refused(struct backoff *b, enum backoff_sign sign, int64_t now_ms)
{
    bool tells = sign != BACKOFF_DOUBTFUL || (b->doubtful && !doubt_is_of_persons(&b->doubt));
    b->recent = (b->recent << 1 | tells) & RECENT;
    if (tells)
        b->refused_ms = now_ms;
    if (!b->began) {
        b->began = true;
        b->row_ms = now_ms;
    }
    if (!is_enough(b, sign, now_ms)) {
        b->trying = false;
        return false;
    }
    if (b->state == BACKOFF_SHUT && now_ms < b->until_ms)
        return false; /* it was under way when another was refused */
    if (sign != BACKOFF_DOUBTFUL)
        b->once = false;
    else if (b->state == BACKOFF_FREE)
        b->once = !b->once_ms || now_ms - b->once_ms >= AGAIN;
    b->doubtful |= sign == BACKOFF_DOUBTFUL;
    b->refused_ms = now_ms;
    shut(b, now_ms);
    return true;
}

void backoff_forget(struct backoff *b)
{
    set_free(b);
    b->once_ms = 0;
}

bool backoff_turn(struct backoff *b, int64_t now_ms)
{
    if (b->state != BACKOFF_PACED)
        return false;
    if (now_ms - b->refused_ms >= FORGOTTEN) {
        set_free(b);
        return true;
    }
    int64_t passed = now_ms - b->step_ms;
    if (passed < STEP)
        return false;
    bool used = b->step_taken * DAY * 2 >= b->per_day * passed;
    b->step_ms = now_ms;
    b->step_taken = 0;
    if (!used)
        return false;
    int64_t before = b->per_day, borne = b->borne * 95 / 100;
    if (b->per_day < borne) {
        b->per_day += b->per_day / 10 + 1;
        if (b->per_day > borne)
            b->per_day = borne;
    } else if (now_ms - b->row_ms >= b->rest_ms) {
        bool careful = b->doubtful && b->rest_ms == REST_FIRST; /* its answers cost attempts */
        b->growth += b->growth < (careful ? GROWTH_DOUBTFUL : GROWTH_MOST);
        b->step_before = b->per_day;
        b->per_day += b->per_day * b->growth / 100 + 1;
        if (b->per_day > 4 * b->borne)
            set_free(b);
    }
    return b->per_day != before;
}

/* --- asking --- */

bool backoff_may_send(const struct backoff *b, int64_t now_ms)
{
    return b->state != BACKOFF_SHUT || (!b->trying && now_ms >= b->until_ms);
}

void backoff_try(struct backoff *b)
{
    b->trying = b->state == BACKOFF_SHUT;
}

void backoff_untry(struct backoff *b)
{
    b->trying = false;
}

void backoff_answered(struct backoff *b)
{
    b->recent = b->recent << 1 & RECENT;
    b->trying = false;
}

int64_t backoff_recent_per_day(const struct backoff *b, int64_t now_ms)
{
    enum { BUCKETS = 5 };
    int64_t width = BUCKET_MINUTES * MINUTE, newest = now_ms / width, sum = 0;
    for (int64_t at = newest; at > newest - BUCKETS && at > 0; at--)
        if (at <= b->bucket && at > b->bucket - BACKOFF_BUCKETS)
            sum += b->taken[at % BACKOFF_BUCKETS];
    int64_t passed = (BUCKETS - 1) * width + now_ms % width;
    if (b->began && now_ms - b->row_ms < passed)
        passed = now_ms - b->row_ms;
    return sum * DAY / (passed > MINUTE ? passed : MINUTE);
}

int64_t backoff_interval_ms(const struct backoff *b)
{
    return b->per_day ? (DAY + b->per_day - 1) / b->per_day : 0;
}
