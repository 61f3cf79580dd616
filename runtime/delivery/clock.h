/* clock.h - each message's clock: how long it has been tried. When it shows `give_up`, its next failure is
 * its last.
 *
 * The clock begins with the first attempt, or with the first failure to reach anybody (no connection, no
 * answer of DNS) while the message could have gone. From then on it runs
 *
 *   - while an attempt is made (CLAIMED),
 *   - while the message waits for the time of its next try (RETRY),
 *   - while it is ready and nobody can be reached: DNS has no answer, or the site is down,
 *
 * and stands still while it is ready and waits for anything else: a limit, a warm-up, a back-off, a
 * connection, people who paused it, a hato that does not run. In the three cases above it stands still, too,
 * for as long as a measure, a pause or the closed window of a warm-up keeps the message back.
 *
 * So what leave costs a message is time, never a try. The clock is kept as standing.clock_ms: the moment from
 * which on the time that has passed is what it shows, moved forward by what does not count. The queue sets it
 * when the message leaves a container (queue_clock()); it is in the journal with every attempt that begins
 * and every failure, and where the message was since then follows from the same records. */
#ifndef HATO_DELIVERY_CLOCK_H
#define HATO_DELIVERY_CLOCK_H

#include "delivery/deliver.h"

void clock_start(struct deliver *d); /* of the queue's messages; before the journal is read */
bool clock_is_over(struct deliver *d, uint64_t id);

#endif
