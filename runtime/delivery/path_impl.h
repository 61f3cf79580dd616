/* path_impl.h - the insides that path.c, path_wait.c, path_urgent.c and path_spill.c share. */
#ifndef HATO_DELIVERY_PATH_IMPL_H
#define HATO_DELIVERY_PATH_IMPL_H

#include "delivery/measure.h"
#include "delivery/path.h"

struct paths {
    struct paths_conf conf;
    struct limits *limits;
    struct map isps;
    struct measures *measures;
    uint64_t searches;
    unsigned sockets;
    unsigned *source_sockets;
    size_t nstarved, starved_at; /* isps that wait for a socket; where the next is looked for */
    bool *absent;                /* sources whose address is not here */
};

/* --- path.c --- */
void site_ring_add(struct site *s);
/* Out of the ring where none of its shares is active. */
void site_ring_check(struct site *s);
void lane_ring_remove(struct lane *lane);
/* It has mail for a pull to look at; for this session (NULL: a new one). */
bool share_is_active(const struct share *sh);
bool share_shows(const struct share *sh, const struct path_session *by);
/* Still attached, but out of the ring: it waits for a connection. */
void lane_set_aside(struct lane *lane);
bool path_is_closed(const struct path *p); /* restricted, or paused */
bool path_has_room(const struct path *p);  /* for one more session */
/* Measures and keys leave it to permits. */
bool path_may_go(const struct path *p, const struct share *sh, const struct path_session *by);
/* By source, host and TLS, and how many of its kind the session may carry. */
bool lane_fits(const struct path *p, const struct site *s, const struct lane *lane,
               const struct path_session *by);
bool site_takes_session(const struct site *s);
/* Open sessions and wake idle ones until nothing more can go. */
void isp_serve(struct isp *isp);

/* --- path_wait.c --- */
size_t path_source_index(const struct stream *st, uint16_t source); /* SIZE_MAX: not one of its sources */
struct limit_who path_who_of(const struct path *p);
/* lane NULL: any of the campaign at this site. by NULL: over a new connection. */
struct limit_who path_who_of_mail(const struct path *p, const struct campaign *c, const struct site *s,
                                  const struct lane *lane, const struct path_session *by);
/* Each: a permit is lacking, and where it helps, it waits for it now. */
bool path_lacks(struct path *p, struct site *s);
bool path_open_lacks(struct path *p, struct site *s);
bool share_lacks(struct path *p, struct share *sh, const struct path_session *by);
bool lane_lacks(struct path *p, const struct share *sh, struct lane *lane, const struct path_session *by);
/* Paths that wait with less urgent mail than this stream's go to its line. */
void isp_stand_forward(struct isp *isp, const struct stream *st);
/* What is ready at this isp did not go: because of full paths, if any is. */
void isp_waits(struct isp *isp);
/* Nothing is ready any more. */
void isp_waits_no_more(struct isp *isp);
/* A limit has a permit: the first in its line looks whether it has all that it needs. */
void path_serve(void *data, struct limit_wait *w, struct limit *at);

/* --- path_urgent.c --- */
/* Mail of this stream is ready at this site now. */
void isp_press(struct site *s, const struct stream *st);
/* The site that presses most comes first in the ring. */
void isp_serve_pressing(struct isp *isp);

/* --- path_spill.c --- */
/* Whether the stream's source of this index may carry what is ready here: its own always, another's where it
 * takes what is above a warm-up's quota. */
bool path_may_carry(struct isp *isp, const struct stream *st, size_t index);
/* A share of this stream waits for a warm-up: it looks every second whether some of it spills. */
void path_spill_later(struct isp *isp, const struct stream *st);
/* The path took one mail of the share: credit of the sources that could have taken it instead. */
void path_took_one(struct path *p, const struct share *sh);
void path_spills_free(struct isp *isp);

#endif
