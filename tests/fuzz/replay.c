/* replay.c - feeds files, or all files of folders, to a fuzz target, without a fuzzer. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int count;

static void feed(const char *path)
{
    struct stat st;
    if (stat(path, &st)) {
        perror(path);
        exit(1);
    }
    if (S_ISDIR(st.st_mode)) {
        DIR *d = opendir(path);
        for (struct dirent *e; d && (e = readdir(d));) {
            char inner[4096];
            if (e->d_name[0] == '.')
                continue;
            snprintf(inner, sizeof inner, "%s/%s", path, e->d_name);
            feed(inner);
        }
        if (d)
            closedir(d);
        return;
    }
    uint8_t *bytes = malloc((size_t)st.st_size + 1);
    FILE *f = fopen(path, "rb");
    if (!bytes || !f || fread(bytes, 1, (size_t)st.st_size, f) != (size_t)st.st_size) {
        perror(path);
        exit(1);
    }
    fclose(f);
    LLVMFuzzerTestOneInput(bytes, (size_t)st.st_size);
    free(bytes);
    count++;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        feed(argv[i]);
    printf("%d inputs replayed\n", count);
    return 0;
}
