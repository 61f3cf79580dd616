/* cmd.h - the sub-commands. Each gets its own argv (argv[0] is its name) and returns the exit code:
 * 0 done, 1 the job failed, 2 usage or a script error. */
#ifndef HATO_CMD_H
#define HATO_CMD_H

#include "base/err.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

/* Of a command that ended with 0 or ERR_*: what was asked for was wrong, or doing it failed. */
static inline int exit_of(int rc)
{
    if (!rc)
        return EXIT_DONE;
    return rc == ERR_INVAL || rc == ERR_SYNTAX || rc == ERR_MISSING ? EXIT_USAGE : EXIT_FAILED;
}
/* Of one that loads a script: a file that it names and that is not there is its mistake too. */
static inline int exit_of_script(int rc)
{
    return rc == ERR_NOTFOUND ? EXIT_USAGE : exit_of(rc);
}

/* A new command: its line here, its row in main.c, its room cmd_NAME.c. */
int cmd_cancel(int argc, char **argv);
int cmd_check(int argc, char **argv);
int cmd_classify(int argc, char **argv);
int cmd_console(int argc, char **argv);
int cmd_events(int argc, char **argv);
int cmd_inbound(int argc, char **argv);
int cmd_keygen(int argc, char **argv);
int cmd_message(int argc, char **argv);
int cmd_pause(int argc, char **argv);
int cmd_queue(int argc, char **argv);
int cmd_render(int argc, char **argv);
int cmd_report(int argc, char **argv);
int cmd_reload(int argc, char **argv);
int cmd_resume(int argc, char **argv);
int cmd_retry(int argc, char **argv);
int cmd_run(int argc, char **argv);
int cmd_serve(int argc, char **argv);
int cmd_sim(int argc, char **argv);
int cmd_sink(int argc, char **argv);
int cmd_suppress(int argc, char **argv);
int cmd_top(int argc, char **argv);
int cmd_warmup(int argc, char **argv);
int cmd_why(int argc, char **argv);

#endif
