/* spool_test.c - the journal on files in memory: order, durability, damage, full disks, failed syncs,
 * rewriting. */
#include "platform/spool_impl.h"
#include "spool_rig.h"
#include "format/frame.h"
#include "test.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static struct spool_pos put_tail_note(struct rig *r)
{
    return rig_put(r, SPOOL_EVENTS, "end");
}

TEST(names_replay_first_and_the_rest_in_the_order_of_appending)
{
    struct rig r = {.fs = fs_memory(), .segment_bytes = 200};
    struct buf want = {0}, rest = {0}, got = {0};
    CHECK_INT(rig_open(&r, true), 0);
    CHECK_INT(r.n, 0);
    for (int i = 0; i < 300; i++) {
        enum spool_kind k = (enum spool_kind)((i * 7 + i / 5) % SPOOL_KINDS);
        rig_put(&r, k, "%d", i);
        buf_printf(k == SPOOL_NAMES ? &want : &rest, "%c:%d ", "nre"[k], i);
        if (i % 11 == 0)
            rig_run(&r, i % 2 ? 50 : 0);
    }
    rig_close(&r);
    buf_adds(&want, buf_slice(&rest));
    CHECK_INT(rig_open(&r, true), 0);
    CHECK_STR(rig_text(&r, &got), buf_slice(&want));
    CHECK_INT(r.report.records[SPOOL_NAMES] + r.report.records[SPOOL_RECIPIENTS] +
                  r.report.records[SPOOL_EVENTS],
              300);
    CHECK(r.report.segments > 20);
    CHECK_INT(r.report.torn_tails + r.report.damaged_places, 0);
    CHECK_INT(r.report.last_stop, SPOOL_CLEAN);
    /* And goes on behind it. */
    rig_put(&r, SPOOL_EVENTS, "more");
    buf_printf(&want, "e:more ");
    rig_close(&r);
    CHECK_INT(rig_open(&r, true), 0);
    CHECK_STR(rig_text(&r, &got), buf_slice(&want));
    rig_free(&r);
    buf_free(&want);
    buf_free(&rest);
    buf_free(&got);
}

struct waiter {
    struct spool_wait w;
    int calls, status;
    int64_t at_ms;
    struct rig *r;
};

static void on_durable(struct spool_wait *w, int status)
{
    struct waiter *x = CONTAINER(w, struct waiter, w);
    x->calls++;
    x->status = status;
    x->at_ms = x->r->loop ? loop_now_ms(x->r->loop) : 0;
}

static void wait_for(struct rig *r, struct waiter *x)
{
    *x = (struct waiter){.w.fn = on_durable, .r = r};
    spool_when_durable(r->spool, &x->w);
}

TEST(a_waiter_is_called_from_the_loop_when_its_records_are_synced)
{
    struct rig r = {.fs = fs_forgetting()};
    struct buf b = {0};
    struct waiter first, second, nothing;
    CHECK_INT(rig_open(&r, true), 0);
    rig_put(&r, SPOOL_RECIPIENTS, "a");
    wait_for(&r, &first);
    CHECK_INT(first.calls, 0);
    rig_run(&r, 0);
    CHECK_INT(first.calls, 1);
    CHECK_INT(first.status, 0);
    CHECK_INT(first.at_ms, 0); /* at once: nobody needs to wait for the 10 ms */
    wait_for(&r, &nothing);    /* nothing new was appended */
    CHECK_INT(nothing.calls, 0);
    rig_run(&r, 0);
    CHECK_INT(nothing.calls, 1);
    rig_put(&r, SPOOL_EVENTS, "b");
    wait_for(&r, &second);
    fs_set_faults(r.fs, &(struct fs_faults){.stop_after = 1000000});
    rig_run(&r, 0);
    CHECK_INT(second.calls, 1);
    /* The world ends here: nothing more reaches the disk, and the power goes. */
    fs_set_faults(r.fs, &(struct fs_faults){.stop_after = -1});
    rig_close(&r);
    fs_set_faults(r.fs, &(struct fs_faults){0});
    fs_power_loss(r.fs, 3);
    CHECK_INT(rig_open(&r, true), 0);
    CHECK_STR(rig_text(&r, &b), S("r:a e:b "));
    CHECK_INT(r.report.last_stop, SPOOL_POWER_LOSS);
    rig_free(&r);
    buf_free(&b);
}

TEST(a_sync_starts_ten_milliseconds_after_the_first_unsynced_record)
{
    struct rig r = {.fs = fs_forgetting()};
    CHECK_INT(rig_open(&r, true), 0);
    rig_put(&r, SPOOL_EVENTS, "a");
    rig_run(&r, 0);
    fs_set_faults(r.fs, &(struct fs_faults){.capacity = 0});
    rig_run(&r, 9);
    CHECK_INT(fs_operations(r.fs), 0);
    rig_run(&r, 2);
    CHECK_INT(fs_operations(r.fs), 2); /* the file and, as it is new, its folder */
    rig_put(&r, SPOOL_EVENTS, "b");
    rig_run(&r, 100);
    CHECK_INT(fs_operations(r.fs), 4); /* one write, one sync */
    rig_run(&r, 100);
    CHECK_INT(fs_operations(r.fs), 4);
    rig_free(&r);
}

TEST(one_turn_is_one_write_a_kind)
{
    struct rig r = {.fs = fs_memory()};
    CHECK_INT(rig_open(&r, true), 0);
    for (int k = 0; k < SPOOL_KINDS; k++)
        rig_put(&r, (enum spool_kind)k, "first");
    rig_run(&r, 100);
    fs_set_faults(r.fs, &(struct fs_faults){.capacity = 0});
    for (int i = 0; i < 3000; i++)
        rig_put(&r, (enum spool_kind)(i % SPOOL_KINDS), "%d", i);
    rig_run(&r, 0);
    CHECK_INT(fs_operations(r.fs), SPOOL_KINDS);
    rig_free(&r);
}

TEST(a_second_process_is_told_who_has_the_spool)
{
    struct rig a = {.fs = fs_real()}, b = {.fs = fs_real()};
    char want[64];
    a.dir = b.dir = test_dir();
    CHECK_INT(rig_open(&a, false), 0);
    CHECK_INT(rig_open(&b, false), ERR_LOCKED);
    snprintf(want, sizeof want, "held by process %ld", (long)getpid());
    CHECK(slice_find(slice_cstr(b.err.text), slice_cstr(want)) >= 0);
    rig_free(&a);
    rig_free(&b);
}

static void segment_path(struct rig *r, const char *name, char *out)
{
    snprintf(out, 200, "%s/%s", r->dir, name);
}

static void poke(struct rig *r, const char *name, uint64_t at, struct slice bytes)
{
    char path[200];
    struct file *f;
    segment_path(r, name, path);
    INVARIANT(file_open(r->fs, path, FILE_READ | FILE_WRITE, 0, &f, NULL) == 0);
    INVARIANT(file_pwrite(f, at, bytes, NULL) == 0);
    file_close(f);
}

TEST(a_newer_format_is_refused_by_name)
{
    struct rig r = {.fs = fs_memory()};
    struct buf b = {0};
    CHECK_INT(rig_open(&r, true), 0);
    rig_put(&r, SPOOL_EVENTS, "a");
    rig_close(&r);
    /* Version 9 and the checksum that makes this header right; taken from the file so that the test needs no
     * knowledge of its own: both are replaced by what a newer program would have written. */
    CHECK_INT(fs_read_whole(r.fs, "spool/events-0000000001.0", 1000, &b, NULL), 0);
    b.p[8] = 9;
    uint32_t crc = crc32c(0, slice_of(b.p, 44));
    memcpy(b.p + 44, &crc, 4);
    CHECK_INT(fs_write_atomic(r.fs, "spool/events-0000000001.0", buf_slice(&b), 0600, NULL), 0);
    CHECK_INT(rig_open(&r, true), ERR_VERSION);
    CHECK(slice_find(slice_cstr(r.err.text), S("events-0000000001.0 is of format 9")) >= 0);
    rig_free(&r);
    buf_free(&b);
}

TEST(a_file_under_another_name_is_refused)
{
    struct rig r = {.fs = fs_memory()};
    CHECK_INT(rig_open(&r, true), 0);
    rig_put(&r, SPOOL_EVENTS, "a");
    rig_close(&r);
    CHECK_INT(fs_rename(r.fs, "spool/events-0000000001.0", "spool/events-0000000002.0", NULL), 0);
    CHECK_INT(rig_open(&r, true), ERR_CORRUPT);
    CHECK(slice_find(slice_cstr(r.err.text), S("renamed or copied")) >= 0);
    rig_free(&r);
}

TEST(a_tail_torn_at_any_byte_is_cut_at_the_last_whole_record)
{
    struct buf whole = {0}, got = {0};
    struct rig r = {.fs = fs_memory()};
    CHECK_INT(rig_open(&r, true), 0);
    rig_put(&r, SPOOL_EVENTS, "one");
    rig_put(&r, SPOOL_EVENTS, "two");
    rig_put(&r, SPOOL_EVENTS, "three");
    rig_close(&r);
    CHECK_INT(fs_read_whole(r.fs, "spool/events-0000000001.0", 1000, &whole, NULL), 0);
    const size_t ends[] = {48 + 11, 48 + 22, 48 + 35};
    CHECK_INT(whole.n, ends[2]);
    for (size_t cut = 0; cut < whole.n; cut++) {
        CHECK_INT(fs_write_atomic(r.fs, "spool/events-0000000001.0", slice_of(whole.p, cut), 0600, NULL), 0);
        CHECK_INT(rig_open(&r, true), 0);
        CHECK_STR(rig_text(&r, &got), cut < ends[0]   ? S("")
                                      : cut < ends[1] ? S("e:one ")
                                                      : S("e:one e:two "));
        bool torn = cut > 48 && cut != ends[0] && cut != ends[1];
        CHECK_INT(r.report.torn_tails, torn);
        /* Cut: the next start finds nothing torn, and what is appended goes elsewhere. */
        struct spool_pos p = put_tail_note(&r);
        CHECK(p.segment == 2);
        rig_close(&r);
        CHECK_INT(rig_open(&r, true), 0);
        CHECK_INT(r.report.torn_tails, 0);
        CHECK(slice_ends(rig_text(&r, &got), S("e:end ")));
        rig_close(&r);
        CHECK_INT(fs_unlink(r.fs, "spool/events-0000000002.0", NULL), 0);
    }
    rig_free(&r);
    buf_free(&whole);
    buf_free(&got);
}

TEST(damage_in_the_middle_is_reported_and_costs_one_record)
{
    struct rig r = {.fs = fs_memory()};
    struct buf got = {0};
    CHECK_INT(rig_open(&r, true), 0);
    for (int i = 0; i < 5; i++)
        rig_put(&r, SPOOL_RECIPIENTS, "person %d", i);
    rig_close(&r);
    poke(&r, "recipients-0000000001.0", 48 + 2 * 16 + 9, S("XX"));
    CHECK_INT(rig_open(&r, true), 0);
    CHECK_STR(rig_text(&r, &got), S("r:person 0 r:person 1 r:person 3 r:person 4 "));
    CHECK_INT(r.report.damaged_places, 1);
    CHECK_INT(r.report.damaged_bytes, 16);
    CHECK_INT(r.last_code, ERR_CORRUPT);
    CHECK_STR(buf_slice(&r.notices),
              S("spool/recipients-0000000001.0: 16 bytes at offset 80 do not match their "
                "checksum and are left out\n"));
    CHECK_INT(spool_read(r.spool, (struct spool_pos){1, 80}, &got, &r.err), ERR_CORRUPT);
    rig_free(&r);
    buf_free(&got);
}

TEST(a_damaged_header_costs_no_record)
{
    struct rig r = {.fs = fs_memory(), .segment_bytes = 120};
    struct buf got = {0};
    CHECK_INT(rig_open(&r, true), 0);
    for (int i = 0; i < 9; i++)
        rig_put(&r, SPOOL_RECIPIENTS, "person %d", i);
    rig_close(&r);
    poke(&r, "recipients-0000000002.0", 12, S("garbage"));
    CHECK_INT(rig_open(&r, true), 0);
    CHECK_INT(r.n, 9);
    CHECK_INT(r.report.damaged_places, 1);
    rig_free(&r);
    buf_free(&got);
}

/* An epoch frame is what says that events come behind a recipient. When it is hit, they must not come before.
 */
TEST(events_behind_damage_do_not_overtake_what_they_speak_of)
{
    struct rig r = {.fs = fs_memory()};
    struct buf got = {0};
    CHECK_INT(rig_open(&r, true), 0);
    rig_put(&r, SPOOL_EVENTS, "start");
    rig_put(&r, SPOOL_RECIPIENTS, "one");
    rig_put(&r, SPOOL_EVENTS, "of one");
    rig_put(&r, SPOOL_RECIPIENTS, "two");
    rig_put(&r, SPOOL_EVENTS, "of two");
    rig_close(&r);
    poke(&r, "events-0000000001.0", 48 + 13 + 9, S("XX")); /* the epoch frame before "of one" */
    CHECK_INT(rig_open(&r, true), 0);
    CHECK_STR(rig_text(&r, &got), S("e:start r:one r:two e:of one e:of two "));
    rig_free(&r);
    buf_free(&got);
}

TEST(any_thread_reads_a_record_by_its_position)
{
    struct rig r = {.fs = fs_memory(), .segment_bytes = 1 << 20};
    struct spool_pos pos[500];
    struct buf got = {0}, b = {0};
    CHECK_INT(rig_open(&r, true), 0);
    for (int i = 0; i < 500; i++)
        pos[i] = rig_put(&r, (enum spool_kind)(1 + i % 2), "%0*d", 1 + i * 17, i);
    rig_run(&r, 0);
    for (int pass = 0; pass < 2; pass++) { /* as it was written, and after a restart */
        for (int i = 0; i < 500; i++) {
            buf_clear(&got);
            buf_clear(&b);
            buf_printf(&b, "%0*d", 1 + i * 17, i);
            CHECK_INT(spool_read(r.spool, pos[i], &got, &r.err), 0);
            CHECK_STR(buf_slice(&got), buf_slice(&b));
        }
        CHECK_INT(spool_read(r.spool, (struct spool_pos){99, 48}, &got, &r.err), ERR_NOTFOUND);
        CHECK_INT(spool_read(r.spool, (struct spool_pos){pos[0].segment, 1u << 30}, &got, &r.err),
                  ERR_NOTFOUND);
        CHECK(spool_read(r.spool, (struct spool_pos){pos[0].segment, pos[0].offset + 1}, &got, &r.err) != 0);
        rig_close(&r);
        CHECK_INT(rig_open(&r, true), 0);
    }
    rig_free(&r);
    buf_free(&got);
    buf_free(&b);
}

TEST(a_record_may_be_as_long_as_it_may_and_no_longer)
{
    struct rig r = {.fs = fs_memory(), .segment_bytes = 4096};
    struct buf big = {0}, got = {0};
    struct spool_pos pos;
    CHECK_INT(rig_open(&r, true), 0);
    buf_reserve(&big, SPOOL_RECORD_MOST_BYTES + 1);
    memset(big.p, 'x', SPOOL_RECORD_MOST_BYTES + 1);
    CHECK_INT(spool_append(r.spool, SPOOL_EVENTS, slice_of(big.p, SPOOL_RECORD_MOST_BYTES + 1), &pos),
              ERR_LIMIT);
    CHECK_INT(spool_append(r.spool, SPOOL_EVENTS, slice_of(big.p, SPOOL_RECORD_MOST_BYTES), &pos), 0);
    rig_put(&r, SPOOL_EVENTS, "small");
    rig_close(&r);
    CHECK_INT(rig_open(&r, true), 0);
    CHECK_INT(r.n, 2);
    CHECK_INT(r.v[0].payload.n, SPOOL_RECORD_MOST_BYTES);
    CHECK_INT(spool_read(r.spool, pos, &got, &r.err), 0);
    CHECK_INT(got.n, SPOOL_RECORD_MOST_BYTES);
    rig_free(&r);
    buf_free(&big);
    buf_free(&got);
}

/* --- full disks --- */

TEST(a_full_disk_refuses_recipients_and_takes_events)
{
    struct rig r = {.fs = fs_memory(), .reserve_bytes = 4096};
    struct buf got = {0};
    struct waiter w, later;
    struct spool_pos pos;
    fs_set_faults(r.fs, &(struct fs_faults){.capacity = 16384});
    CHECK_INT(rig_open(&r, true), 0);
    rig_put(&r, SPOOL_RECIPIENTS, "fits");
    rig_run(&r, 20);
    for (int i = 0; i < 2000; i++)
        rig_put(&r, SPOOL_RECIPIENTS, "does not fit %d", i);
    wait_for(&r, &w);
    rig_run(&r, 20);
    CHECK_INT(w.calls, 1);
    CHECK_INT(w.status, ERR_FULL);
    CHECK_INT(r.last_code, ERR_FULL);
    CHECK(slice_find(buf_slice(&r.notices), S("No space left")) >= 0);
    CHECK_INT(spool_append(r.spool, SPOOL_RECIPIENTS, S("refused"), &pos), ERR_FULL);
    /* Fill what is left with events, into the reserve. */
    for (int i = 0; i < 700; i++) {
        rig_put(&r, SPOOL_EVENTS, "outcome %d", i);
        if (i % 10 == 0)
            rig_run(&r, 0);
    }
    wait_for(&r, &w);
    rig_run(&r, 20);
    CHECK_INT(w.calls, 1);
    CHECK_INT(w.status, 0);
    CHECK_INT(spool_status(r.spool), 0);
    /* More than that waits in memory, and says so. */
    for (int i = 0; i < 1000; i++)
        rig_put(&r, SPOOL_EVENTS, "outcome %d", i);
    wait_for(&r, &later);
    rig_run(&r, 20);
    CHECK_INT(later.calls, 0);
    CHECK_INT(spool_status(r.spool), ERR_FULL);
    /* Somebody makes room. */
    fs_set_faults(r.fs, &(struct fs_faults){.capacity = 1 << 20});
    rig_run(&r, 3000);
    CHECK_INT(later.calls, 1);
    CHECK_INT(later.status, 0);
    CHECK_INT(spool_status(r.spool), 0);
    CHECK_INT(r.last_code, 0);
    CHECK_INT(spool_append(r.spool, SPOOL_RECIPIENTS, S("taken"), &pos), 0);
    rig_close(&r);
    CHECK_INT(rig_open(&r, true), 0);
    CHECK_INT(r.report.records[SPOOL_RECIPIENTS], 2);
    CHECK_INT(r.report.records[SPOOL_EVENTS], 1700);
    CHECK_INT(r.report.torn_tails + r.report.damaged_places, 0);
    CHECK(slice_starts(rig_text(&r, &got), S("r:fits e:outcome 0 ")));
    CHECK(slice_ends(buf_slice(&got), S("e:outcome 999 r:taken ")));
    rig_free(&r);
    buf_free(&got);
}

TEST(at_journal_max_recipients_are_refused_and_events_are_not)
{
    struct rig r = {.fs = fs_memory(), .journal_max = 2000};
    struct spool_pos pos;
    int taken = 0;
    CHECK_INT(rig_open(&r, true), 0);
    while (spool_append(r.spool, SPOOL_RECIPIENTS, S("a person"), &pos) == 0)
        taken++;
    CHECK(taken > 100 && taken < 125);
    CHECK_INT(spool_append(r.spool, SPOOL_RECIPIENTS, S("a person"), &pos), ERR_FULL);
    for (int i = 0; i < 100; i++)
        CHECK_INT(spool_append(r.spool, SPOOL_EVENTS, S("an outcome"), &pos), 0);
    CHECK_INT(spool_status(r.spool), 0);
    rig_free(&r);
}

TEST(short_writes_are_completed)
{
    struct rig r = {.fs = fs_memory()};
    CHECK_INT(rig_open(&r, true), 0);
    fs_set_faults(r.fs, &(struct fs_faults){.append_after = 1, .append_takes = 5, .append_times = 3});
    for (int i = 0; i < 10; i++)
        rig_put(&r, SPOOL_EVENTS, "event %d", i);
    rig_run(&r, 20);
    rig_close(&r);
    CHECK_INT(rig_open(&r, true), 0);
    CHECK_INT(r.n, 10);
    CHECK_INT(r.report.torn_tails, 0);
    rig_free(&r);
}

/* --- failed syncs --- */

TEST(after_a_failed_sync_records_are_durable_only_in_a_new_file)
{
    for (int fails = 1; fails <= 3; fails++) {
        struct rig r = {.fs = fs_forgetting()};
        struct buf got = {0};
        struct waiter w;
        struct spool_pos pos, before;
        CHECK_INT(rig_open(&r, true), 0);
        before = rig_put(&r, SPOOL_RECIPIENTS, "safe");
        rig_run(&r, 20);
        fs_set_faults(r.fs, &(struct fs_faults){.sync_after = 1, .sync_errno = EIO, .sync_times = fails});
        pos = rig_put(&r, SPOOL_RECIPIENTS, "in danger");
        wait_for(&r, &w);
        rig_run(&r, 0);
        if (fails > 1) { /* the new file fails too: nobody is told anything, and recipients are refused */
            CHECK_INT(w.calls, 0);
            CHECK_INT(spool_status(r.spool), ERR_IO);
            struct spool_pos unused;
            CHECK_INT(spool_append(r.spool, SPOOL_RECIPIENTS, S("refused"), &unused), ERR_IO);
        }
        rig_put(&r, SPOOL_EVENTS, "taken all the same");
        rig_run(&r, 5000);
        CHECK_INT(w.calls, 1);
        CHECK_INT(w.status, 0);
        CHECK_INT(spool_status(r.spool), 0);
        CHECK(slice_find(buf_slice(&r.notices), S("Input/output error")) >= 0);
        CHECK_INT(spool_read(r.spool, pos, &got, &r.err), 0);
        CHECK_STR(buf_slice(&got), S("in danger"));
        CHECK(rig_put(&r, SPOOL_RECIPIENTS, "next").segment != pos.segment);
        rig_run(&r, 100);
        fs_set_faults(r.fs, &(struct fs_faults){.stop_after = -1});
        rig_close(&r);
        fs_set_faults(r.fs, &(struct fs_faults){0});
        fs_power_loss(r.fs, 5);
        CHECK_INT(rig_open(&r, true), 0);
        CHECK_STR(rig_text(&r, &got), S("r:safe r:in danger e:taken all the same r:next "));
        CHECK(r.v[0].pos.offset == before.offset && r.v[1].pos.offset == pos.offset);
        CHECK_INT(r.report.damaged_places + r.report.torn_tails, 0);
        rig_free(&r);
        buf_free(&got);
    }
}

/* Some file systems notice at the sync that there is no room; the new file may have the reserve's. */
TEST(a_sync_that_finds_the_disk_full_is_made_good_with_the_reserve)
{
    struct rig r = {.fs = fs_memory(), .reserve_bytes = 4096};
    struct waiter w;
    struct spool_pos pos;
    fs_set_faults(r.fs, &(struct fs_faults){.capacity = 16384});
    CHECK_INT(rig_open(&r, true), 0);
    for (int i = 0; i < 7; i++)
        rig_put(&r, SPOOL_RECIPIENTS, "%1000d", i);
    fs_set_faults(r.fs, &(struct fs_faults){.capacity = 16384, .sync_after = 1, .sync_errno = ENOSPC});
    wait_for(&r, &w);
    rig_run(&r, 20);
    CHECK_INT(w.calls, 1);
    CHECK_INT(w.status, 0);
    CHECK_INT(spool_status(r.spool), 0);
    CHECK_INT(r.last_code, 0);
    rig_run(&r, 3000);
    CHECK_INT(spool_append(r.spool, SPOOL_RECIPIENTS, S("taken again"), &pos), 0);
    rig_close(&r);
    CHECK_INT(rig_open(&r, true), 0);
    CHECK_INT(r.n, 8);
    rig_free(&r);
}

TEST(nothing_is_written_before_the_names_it_speaks_of)
{
    struct rig r = {.fs = fs_memory(), .reserve_bytes = 64};
    struct waiter w;
    fs_set_faults(r.fs, &(struct fs_faults){.capacity = 1000});
    CHECK_INT(rig_open(&r, true), 0);
    rig_put(&r, SPOOL_EVENTS, "before");
    rig_run(&r, 20);
    rig_put(&r, SPOOL_NAMES, "%2000s", "a long name");
    rig_put(&r, SPOOL_RECIPIENTS, "who has it");
    rig_put(&r, SPOOL_EVENTS, "what became of it");
    wait_for(&r, &w);
    rig_run(&r, 20);
    CHECK_INT(w.status, ERR_FULL);
    CHECK_INT(spool_status(r.spool), ERR_FULL);
    CHECK_INT(rig_scan(&r), 0);
    CHECK_INT(r.n, 1);
    fs_set_faults(r.fs, &(struct fs_faults){.capacity = 1 << 20});
    rig_run(&r, 3000);
    rig_close(&r);
    CHECK_INT(rig_open(&r, true), 0);
    CHECK_INT(r.report.records[SPOOL_NAMES], 1);
    CHECK_INT(r.report.records[SPOOL_RECIPIENTS], 0);
    CHECK_INT(r.report.records[SPOOL_EVENTS], 2);
    rig_free(&r);
}

TEST(a_scan_reads_a_spool_that_is_open)
{
    struct rig r = {.fs = fs_memory()};
    struct buf got = {0};
    CHECK_INT(rig_open(&r, true), 0);
    rig_put(&r, SPOOL_RECIPIENTS, "one");
    rig_put(&r, SPOOL_EVENTS, "two");
    rig_run(&r, 20);
    rig_put(&r, SPOOL_EVENTS, "not yet written");
    CHECK_INT(rig_scan(&r), 0);
    CHECK_STR(rig_text(&r, &got), S("r:one e:two "));
    rig_free(&r);
    buf_free(&got);
}

static int count_record(void *data, enum spool_kind kind, struct spool_pos pos, struct slice payload)
{
    ++*(int *)data;
    return 0;
}

static void count_notice(void *data, int code, const char *text)
{
    ++*(int *)data;
}

TEST(a_scan_reads_names_whose_file_was_in_the_making_when_it_was_listed)
{
    struct rig r = {.fs = fs_memory()};
    struct buf whole = {0}, path = {0};
    struct found found;
    struct spool_report report = {0};
    int records = 0, notices = 0;
    CHECK_INT(rig_open(&r, true), 0);
    rig_put(&r, SPOOL_NAMES, "one");
    rig_run(&r, 20);
    rig_close(&r);
    CHECK_INT(found_list(r.fs, r.dir, &found, &r.err), 0);
    for (size_t i = 0; i < found.n; i++)
        if (found.v[i].id.kind == SPOOL_NAMES && found.v[i].bytes > SEGMENT_HEADER_BYTES)
            seg_path(&path, r.dir, found.v[i].id, false);
    found_free(&found);
    CHECK(path.n > 0);
    CHECK_INT(fs_read_whole(r.fs, path.p, 4096, &whole, &r.err), 0);
    CHECK_INT(fs_write_atomic(r.fs, path.p, SLICE_NONE, 0600, &r.err), 0);
    CHECK_INT(found_list(r.fs, r.dir, &found, &r.err), 0);
    CHECK_INT(fs_write_atomic(r.fs, path.p, buf_slice(&whole), 0600, &r.err), 0);
    CHECK_INT(found_replay(r.fs, r.dir, &found, false, count_record, count_notice, &records, &notices,
                           &report, &r.err),
              0);
    CHECK_INT(records, 1);
    CHECK_INT(notices, 0);
    CHECK_INT(report.damaged_places, 0);
    found_free(&found);
    buf_free(&whole);
    buf_free(&path);
    rig_free(&r);
}
