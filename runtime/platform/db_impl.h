/* db_impl.h - the VFS that db.c gives to SQLite. Only db*.c include this. */
#ifndef HATO_PLATFORM_DB_IMPL_H
#define HATO_PLATFORM_DB_IMPL_H

#include "platform/file.h"

#include <sqlite3.h>

/* SQLite keeps its VFSs in a list of the process; ours has a name of its own in it for as long as its
 * database is open, so that nothing is shared between databases. */
struct db_vfs {
    sqlite3_vfs vfs;
    char name[40];
    struct fs *fs;     /* borrowed */
    struct err failed; /* the last failure of a file, in its own words; code 0: none yet */
};

int db_vfs_init(struct db_vfs *v, struct fs *fs); /* a result code of SQLite's */
void db_vfs_end(struct db_vfs *v);

#endif
