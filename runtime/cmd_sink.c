/* cmd_sink.c - hato sink: an SMTP server, and a DNS server that points to it, for trying and measuring
 * senders. */
#include "cmd.h"
#include "dns_server.h"
#include "opts.h"
#include "sink.h"

#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>

enum { PEM_MOST = 1 << 20 };

struct args {
    struct opt_list listen;
    const char *world, *dns, *store, *log, *cert, *key;
    int64_t port;
    bool discard, help;
};

static const struct opt options[] = {
    {OPT_MANY, "listen", "ADDR:PORT...", "where to receive; with a world, as the ISP that has the address",
     offsetof(struct args, listen)},
    {OPT_STRING, "world", "FILE", "the receivers to play; without --listen on all their addresses",
     offsetof(struct args, world)},
    {OPT_INT, "port", "N", "the port of a world's addresses (default 25)", offsetof(struct args, port)},
    {OPT_STRING, "dns", "ADDR:PORT",
     "answer DNS here, for the world or, without one, the sink for every name", offsetof(struct args, dns)},
    {OPT_STRING, "store", "DIR", "keep each message as DIR/N.eml, the bytes as received",
     offsetof(struct args, store)},
    {OPT_FLAG, "discard", NULL, "keep none (what it does without --store)", offsetof(struct args, discard)},
    {OPT_STRING, "log", "FILE", "append a JSON object for each transaction", offsetof(struct args, log)},
    {OPT_STRING, "cert", "FILE", "PEM certificate chain for STARTTLS (default: one made at the start)",
     offsetof(struct args, cert)},
    {OPT_STRING, "key", "FILE", "its PEM key", offsetof(struct args, key)},
    {OPT_FLAG, "help|h", NULL, "this text", offsetof(struct args, help)},
    {0},
};

static const char usage[] =
    "hato sink [--listen ADDR:PORT...] [--world FILE.lua [--port N]] [--dns ADDR:PORT]\n"
    "          [--store DIR | --discard] [--log FILE] [--cert FILE --key FILE]\n\n"
    "An SMTP server to send to. It takes everything, or behaves as the ISPs of a world file do.\n"
    "It says \"sink: ready\" when it listens, and ends on SIGTERM or Ctrl-C with what it has seen.";

struct run {
    struct loop *loop;
    struct net *net;
    struct world *world;
    struct fs *fs;
    struct tls_server *tls;
    struct sink *sink;
    struct dns_server *dns;
    struct ip_port listen[COUNT(((struct opt_list *)0)->v)], dns_at;
    struct ip address; /* of names for which nothing else is known */
    struct loop_signal *signals[2];
    bool failed;
};

static void on_signal(int signum, void *data)
{
    struct run *r = data;
    loop_stop(r->loop);
}

/* A message that is not stored was refused, and its sender knows; a log with holes misleads whoever reads it.
 */
static void on_failure(void *data, const struct err *e, bool log_lost)
{
    struct run *r = data;
    fprintf(stderr, "hato sink: %s\n", e->text);
    if (!log_lost)
        return;
    r->failed = true;
    loop_stop(r->loop);
}

static int check(const struct args *a, struct err *e)
{
    if (!a->listen.n && !a->world)
        return err_set(e, ERR_MISSING, "needs --listen ADDR:PORT or --world FILE");
    if (a->listen.n && a->port)
        return err_set(e, ERR_INVAL, "--port is for a world's addresses; --listen has its own");
    if (a->port < 0 || a->port > UINT16_MAX)
        return err_set(e, ERR_RANGE, "--port wants a number from 1 to 65535");
    if (a->store && a->discard)
        return err_set(e, ERR_INVAL, "--store and --discard exclude each other");
    if (!a->cert != !a->key)
        return err_set(e, ERR_MISSING, "--cert and --key belong together");
    return 0;
}

static int parse_at(const char *option, const char *text, uint16_t default_port, struct ip_port *out,
                    struct err *e)
{
    int rc = ip_port_parse(slice_cstr(text), default_port, out);
    return rc ? err_set(e, rc, "--%s wants ADDRESS:PORT, such as 127.0.0.1:2525, not \"%s\"", option, text)
              : 0;
}

static int load_tls(struct run *r, const struct args *a, struct err *e)
{
    struct buf cert = {0}, key = {0};
    int rc;
    if (!a->cert)
        return tls_server_self_signed(S("mx.sink.test"), &r->tls, e);
    if ((rc = fs_read_whole(r->fs, a->cert, PEM_MOST, &cert, e)) ||
        (rc = fs_read_whole(r->fs, a->key, PEM_MOST, &key, e)))
        goto out;
    rc = tls_server_new(buf_slice(&cert), buf_slice(&key), &r->tls, e);
    if (rc)
        err_prefix(e, "%s, %s: ", a->cert, a->key);
out:
    buf_free(&cert);
    if (key.p)
        explicit_bzero(key.p, key.cap);
    buf_free(&key);
    return rc;
}

/* What can be wrong with the command line and the world: nothing is opened yet. */
static int prepare(struct run *r, const struct args *a, struct err *e)
{
    int rc = 0;
    for (size_t i = 0; i < a->listen.n && !rc; i++)
        rc = parse_at("listen", a->listen.v[i], 0, &r->listen[i], e);
    if (!rc && a->dns)
        rc = parse_at("dns", a->dns, 53, &r->dns_at, e);
    if (rc)
        return rc;
    if (a->world) {
        if ((rc = world_load(&r->world, a->world, e)))
            return rc;
        if (!r->world->n_isps)
            return err_set(e, ERR_MISSING, "%s: a world without ISPs receives nothing", a->world);
        r->address = r->world->isps[0].addresses[0];
        return 0;
    }
    /* Where mail for any name goes: the first address, or loopback where that is all of them. */
    r->address = r->listen[0].ip;
    if (ip_is_any(&r->address))
        r->address = r->address.family == 4 ? ip_v4(127, 0, 0, 1) : (struct ip){6, {[15] = 1}};
    r->world = world_default(&r->address);
    return 0;
}

static int listen_all(struct run *r, const struct args *a, struct err *e)
{
    char text[IP_PORT_TEXT];
    struct ip_port at;
    for (size_t i = 0; i < a->listen.n; i++) {
        int rc = sink_listen(r->sink, &r->listen[i], &at, e);
        if (rc)
            return rc;
        printf("sink: listening on %s\n", ip_port_text(&at, text).p);
    }
    if (a->listen.n)
        return 0;
    uint16_t port = a->port ? (uint16_t)a->port : 25;
    int n = sink_listen_world(r->sink, port, e);
    if (n < 0)
        return n;
    printf("sink: listening on %d addresses of %zu ISPs, port %u\n", n, r->world->n_isps, (unsigned)port);
    return 0;
}

static int start_dns(struct run *r, const struct args *a, struct err *e)
{
    char text[IP_PORT_TEXT];
    if (!a->dns)
        return 0;
    r->dns = dns_server_new(r->loop, r->dns_at, a->world ? r->world : NULL, r->address, e);
    if (!r->dns)
        return e->code;
    struct ip_port at = dns_server_at(r->dns);
    printf("sink: answering DNS on %s\n", ip_port_text(&at, text).p);
    return 0;
}

static int start(struct run *r, const struct args *a, struct err *e)
{
    r->fs = fs_real();
    int rc = load_tls(r, a, e);
    if (rc)
        return rc;
    r->loop = loop_new_real();
    r->net = net_new(r->loop);
    struct sink_conf conf = {.net = r->net,
                             .world = r->world,
                             .tls = r->tls,
                             .fs = r->fs,
                             .store = a->store,
                             .log = a->log,
                             .on_failure = on_failure,
                             .data = r};
    if ((rc = sink_new(&conf, &r->sink, e)) || (rc = listen_all(r, a, e)) || (rc = start_dns(r, a, e)))
        return rc;
    r->signals[0] = loop_signal_new(r->loop, SIGINT, on_signal, r);
    r->signals[1] = loop_signal_new(r->loop, SIGTERM, on_signal, r);
    return 0;
}

static void stop(struct run *r)
{
    loop_signal_free(r->signals[0]);
    loop_signal_free(r->signals[1]);
    dns_server_free(r->dns);
    sink_free(r->sink);
    net_free(r->net);
    loop_free(r->loop);
    tls_server_free(r->tls);
    world_free(r->world);
    fs_free(r->fs);
}

static void summary(const struct run *r)
{
    struct sink_stats s = sink_stats(r->sink);
    printf("sink: %llu connections, %llu transactions, %llu messages taken, %llu bytes\n",
           (unsigned long long)s.connections, (unsigned long long)s.transactions,
           (unsigned long long)s.messages, (unsigned long long)s.bytes);
    if (net_accept_errors(r->net))
        printf("sink: %llu connections could not be accepted\n",
               (unsigned long long)net_accept_errors(r->net));
}

int cmd_sink(int argc, char **argv)
{
    struct args args = {0};
    struct run run = {0};
    struct err e = {0};
    struct rlimit files;

    if (opts_parse(argc, argv, options, &args, NULL, &e) || (!args.help && check(&args, &e))) {
        fprintf(stderr, "hato sink: %s\n", e.text);
        return EXIT_USAGE;
    }
    if (args.help) {
        opts_help(usage, options);
        return EXIT_DONE;
    }
    /* One descriptor a sender's connection: as many as we may have. */
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    int rc = prepare(&run, &args, &e), code = rc ? EXIT_USAGE : EXIT_FAILED;
    if (!rc)
        rc = start(&run, &args, &e);
    if (rc) {
        fprintf(stderr, "hato sink: %s\n", e.text);
    } else {
        printf("sink: ready\n");
        fflush(stdout); /* whoever started us waits for this line, and it may be a pipe */
        loop_run(run.loop);
        summary(&run);
    }
    stop(&run);
    return rc ? code : run.failed ? EXIT_FAILED : EXIT_DONE;
}
