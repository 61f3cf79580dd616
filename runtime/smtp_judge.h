/* smtp_judge.h - what one simulated receiver remembers between sessions, and what it therefore answers.
 *
 * One judge plays one ISP of a world for all its addresses. Sessions (smtp_server.h) ask it; it knows who
 * connected, who was seen before and how much came from whom. Time and luck are given from outside, so the
 * same seed gives the same answers. */
#ifndef HATO_SMTP_JUDGE_H
#define HATO_SMTP_JUDGE_H

#include "base/map.h"
#include "world.h"

struct smtp_judge;
struct judge_source; /* one peer address; lives as long as its judge */

/* luck: any number, drawn anew for each share. isp is borrowed until smtp_judge_free(). */
struct smtp_judge *smtp_judge_new(const struct world_isp *isp, uint64_t (*luck)(void *data), void *data);
const struct world_isp *smtp_judge_isp(const struct smtp_judge *j);

/* A session begins: its source; NULL when that one has as many connections as the ISP allows. */
struct judge_source *smtp_judge_connect(struct smtp_judge *j, const struct ip *peer);
void smtp_judge_disconnect(struct judge_source *s);

/* It has played since this moment; 0 unless said. */
void smtp_judge_begin(struct smtp_judge *j, int64_t now_ms);
/* The scripted reply for this moment, or NULL. to: empty where the phase has no recipient. */
const struct world_reply *smtp_judge_script(struct smtp_judge *j, enum smtp_phase phase, struct slice to,
                                            int64_t now_ms);

/* This source has sent as many messages as it may, for now. */
bool smtp_judge_is_full(struct smtp_judge *j, struct judge_source *s, int64_t now_ms);
/* May this source begin a message now, by the ISP's rate? If so it holds a place until smtp_judge_release().
 */
bool smtp_judge_reserve(struct smtp_judge *j, struct judge_source *s, int64_t now_ms);
void smtp_judge_release(struct judge_source *s);
/* A message was taken: it counts from now on. */
void smtp_judge_taken(struct smtp_judge *j, struct judge_source *s, int64_t now_ms);

/* What RCPT gets: nobody is known by that name, or it is greylisted, or fine. */
struct world_answer smtp_judge_rcpt(struct smtp_judge *j, const struct judge_source *s, struct slice from,
                                    struct slice to, int64_t now_ms);

void smtp_judge_free(struct smtp_judge *j); /* no session left; NULL is fine */

#endif
