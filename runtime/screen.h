/* screen.h - a terminal that is painted whole, again and again: no library, the sequences every terminal of
 * this century knows. What is painted must be safe (text_safe()) but for the styles below. */
#ifndef HATO_SCREEN_H
#define HATO_SCREEN_H

#include "base/err.h"
#include "base/mem.h"

enum screen_key {
    SCREEN_NONE = 0, /* the time was over, or the window has another size */
    SCREEN_UP = 256,
    SCREEN_DOWN,
    SCREEN_LEFT,
    SCREEN_RIGHT,
    SCREEN_PAGE_UP,
    SCREEN_PAGE_DOWN,
    SCREEN_HOME,
    SCREEN_END,
    SCREEN_QUIT /* Ctrl-C, the end of input, or a signal to end */
};
enum screen_style { SCREEN_PLAIN, SCREEN_BOLD, SCREEN_REVERSE, SCREEN_DIM, SCREEN_ALARM };

struct screen;

/* Takes the terminal of stdin and stdout: no echo, keys as they come, another page. ERR_UNSUPPORTED: they are
 * none. */
int screen_open(struct screen **out, struct err *e);
/* The terminal as it was. NULL is fine. */
void screen_close(struct screen *s);
void screen_size(struct screen *s, size_t *columns, size_t *lines);

/* Begin a page; then line by line, each cut at the right edge; then show it. Lines beyond the last are left
 * out. */
void screen_begin(struct screen *s);
void screen_line(struct screen *s, enum screen_style style, struct slice text);
int screen_end(struct screen *s, struct err *e);

/* The next key: a character, or a screen_key. Waits at most so long. */
int screen_key(struct screen *s, int wait_ms);

#endif
