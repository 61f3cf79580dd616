/* screen.c - see screen.h. Signals come by a descriptor, beside the keys: no handler, nothing global. */
#include "screen.h"
#include "format/text.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

enum { ESCAPE_WAIT_MS = 30 };

struct screen {
    struct termios was;
    sigset_t was_blocked;
    int signals;
    struct buf page;
    size_t line, columns, lines;
    unsigned char keys[64];
    size_t nkeys;
};

static int write_all(struct slice s)
{
    return fwrite(s.p, 1, s.n, stdout) != s.n || fflush(stdout) ? ERR_IO : 0;
}

int screen_open(struct screen **out, struct err *e)
{
    struct screen *s = mem_zalloc(sizeof *s);
    struct termios raw;
    sigset_t set;
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO) || tcgetattr(STDIN_FILENO, &s->was)) {
        free(s);
        return err_set(e, ERR_UNSUPPORTED, "there is no terminal here");
    }
    sigemptyset(&set);
    sigaddset(&set, SIGWINCH);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, &s->was_blocked);
    s->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    raw = s->was;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO | ISIG | IEXTEN);
    raw.c_iflag &= ~(tcflag_t)(IXON | ICRNL);
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    if (s->signals < 0 || tcsetattr(STDIN_FILENO, TCSAFLUSH, &raw) ||
        write_all(S("\033[?1049h\033[?25l\033[2J"))) {
        screen_close(s);
        return err_set(e, ERR_IO, "the terminal cannot be taken");
    }
    *out = s;
    return 0;
}

void screen_close(struct screen *s)
{
    if (!s)
        return;
    /* Whether it is still there nobody can tell, and nothing follows from it. */
    (void)write_all(S("\033[0m\033[?25h\033[?1049l"));
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &s->was);
    if (s->signals >= 0)
        close(s->signals);
    sigprocmask(SIG_SETMASK, &s->was_blocked, NULL);
    buf_free(&s->page);
    free(s);
}

void screen_size(struct screen *s, size_t *columns, size_t *lines)
{
    struct winsize w = {0};
    bool known = !ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) && w.ws_col && w.ws_row;
    s->columns = *columns = known ? w.ws_col : 80;
    s->lines = *lines = known ? w.ws_row : 24;
}

void screen_begin(struct screen *s)
{
    size_t columns, lines;
    screen_size(s, &columns, &lines);
    buf_clear(&s->page);
    buf_adds(&s->page, S("\033[H"));
    s->line = 0;
}

void screen_line(struct screen *s, enum screen_style style, struct slice text)
{
    static const char *const styles[] = {"", "\033[1m", "\033[7m", "\033[2m", "\033[31m"};
    if (s->line >= s->lines)
        return;
    if (s->line++)
        buf_adds(&s->page, S("\r\n"));
    size_t n = text_fit(text, s->columns);
    buf_adds(&s->page, slice_cstr(styles[style]));
    buf_add(&s->page, text.p, n);
    if (style == SCREEN_REVERSE)
        for (size_t w = text_width(slice_of(text.p, n)); w < s->columns; w++)
            buf_addc(&s->page, ' ');
    if (style != SCREEN_PLAIN)
        buf_adds(&s->page, S("\033[0m"));
    buf_adds(&s->page, S("\033[K"));
}

int screen_end(struct screen *s, struct err *e)
{
    buf_adds(&s->page, S("\033[J"));
    return write_all(buf_slice(&s->page)) ? err_set(e, ERR_IO, "the terminal cannot be written") : 0;
}

/* --- keys --- */

static int take(struct screen *s, size_t n, int key)
{
    memmove(s->keys, s->keys + n, s->nkeys - n);
    s->nkeys -= n;
    return key;
}

/* ESC [ A … and ESC [ 5 ~ …; what is not known is passed over whole. */
static int escape_key(struct screen *s)
{
    size_t n = 2;
    if (s->nkeys < 2 || (s->keys[1] != '[' && s->keys[1] != 'O'))
        return take(s, 1, SCREEN_NONE);
    while (n < s->nkeys && (s->keys[n] < 0x40 || s->keys[n] > 0x7e))
        n++;
    if (n == s->nkeys)
        return take(s, n, SCREEN_NONE);
    switch (s->keys[n]) {
    case 'A':
        return take(s, n + 1, SCREEN_UP);
    case 'B':
        return take(s, n + 1, SCREEN_DOWN);
    case 'C':
        return take(s, n + 1, SCREEN_RIGHT);
    case 'D':
        return take(s, n + 1, SCREEN_LEFT);
    case 'H':
        return take(s, n + 1, SCREEN_HOME);
    case 'F':
        return take(s, n + 1, SCREEN_END);
    case '~':
        return take(s, n + 1,
                    s->keys[2] == '5'   ? SCREEN_PAGE_UP
                    : s->keys[2] == '6' ? SCREEN_PAGE_DOWN
                                        : SCREEN_NONE);
    }
    return take(s, n + 1, SCREEN_NONE);
}

static int fill(struct screen *s, int wait_ms)
{
    struct pollfd fds[2] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = s->signals, .events = POLLIN}};
    struct signalfd_siginfo info;
    int n = poll(fds, 2, wait_ms);
    if (n <= 0)
        return SCREEN_NONE;
    while (read(s->signals, &info, sizeof info) == (ssize_t)sizeof info)
        if (info.ssi_signo != SIGWINCH)
            return SCREEN_QUIT;
    if (!fds[0].revents)
        return SCREEN_NONE;
    ssize_t got = read(STDIN_FILENO, s->keys + s->nkeys, sizeof s->keys - s->nkeys);
    if (got <= 0 && errno != EINTR)
        return SCREEN_QUIT;
    s->nkeys += got > 0 ? (size_t)got : 0;
    return SCREEN_NONE;
}

int screen_key(struct screen *s, int wait_ms)
{
    if (!s->nkeys && fill(s, wait_ms) == SCREEN_QUIT)
        return SCREEN_QUIT;
    if (!s->nkeys)
        return SCREEN_NONE;
    if (s->keys[0] == 3 || s->keys[0] == 4)
        return SCREEN_QUIT;
    if (s->keys[0] != 033)
        return take(s, 1, s->keys[0]);
    if (s->nkeys < 3 && fill(s, ESCAPE_WAIT_MS) == SCREEN_QUIT)
        return SCREEN_QUIT;
    return escape_key(s);
}
