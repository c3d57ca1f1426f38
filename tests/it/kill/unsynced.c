/*
 * A file layer that remembers how to undo what was not synced.
 *
 * Preloaded into `perron serve`: each change under one directory is noted in a journal before it
 * is made, with what it replaces; each fsync and fdatasync is noted after it returned. After a
 * SIGKILL the test reads the journal and takes back what no sync covers (unsynced.rs).
 *
 *   UNSYNCED_DIR      the directory that is watched, absolute and without links
 *   UNSYNCED_JOURNAL  the journal's file, outside of it
 *   UNSYNCED_GRAVES   a directory on the same file system: removed and replaced files are linked
 *                     there first
 *
 * A record: kind, length of each part, numbers, then path, second path and bytes. All in the
 * machine's own order: who reads it runs on it too. sync_file_range is let through and counts for
 * nothing: it makes no metadata durable, and empties no cache of the disk.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { CREATE = 1, WRITE, TRUNCATE, RENAME, UNLINK, MKDIR, RMDIR, LINK, SYNC };

struct record {
    uint32_t kind, path_len, second_len, bytes_len;
    uint64_t seq;     /* of this record; for SYNC: of the last record that it may cover */
    uint64_t inode;   /* of the file, or of the folder that is synced */
    uint64_t parent;  /* of the folder whose names change */
    uint64_t parent2; /* of a second such folder */
    uint64_t offset, length; /* of a write: where, how much */
    uint64_t size;    /* of the file before */
    uint64_t grave;   /* number of the file's link under the graves, or 0 */
};

#define FDS 65536
enum { UNKNOWN = 0, WATCHED, OTHER };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned char state[FDS];
static char dir[PATH_MAX], graves[PATH_MAX];
static size_t dir_len;
static int journal = -1;
static uint64_t seq, grave_count;

#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) {
        static const char text[] = "unsynced: a function is missing\n";
        ssize_t ignored = REAL(write)(2, text, sizeof text - 1);
        (void)ignored;
        _exit(99);
    }
    return found;
}

static void give_up(const char *what) {
    dprintf(2, "unsynced: %s: %s\n", what, strerror(errno));
    _exit(99);
}

__attribute__((constructor)) static void begin(void) {
    const char *d = getenv("UNSYNCED_DIR"), *j = getenv("UNSYNCED_JOURNAL"), *g = getenv("UNSYNCED_GRAVES");
    if (!d || !j || !g)
        return;
    snprintf(dir, sizeof dir, "%s", d);
    snprintf(graves, sizeof graves, "%s", g);
    dir_len = strlen(dir);
    journal = REAL(open)(j, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
    if (journal < 0)
        give_up(j);
}

static int inside(const char *path) {
    return journal >= 0 && strncmp(path, dir, dir_len) == 0 && (path[dir_len] == '/' || path[dir_len] == 0);
}

/* The absolute path of `path` as seen from `at`; no `..` comes from the program under test. */
static int absolute(int at, const char *path, char *out) {
    if (journal < 0 || !path)
        return 0;
    if (path[0] == '/') {
        snprintf(out, PATH_MAX, "%s", path);
    } else {
        char base[PATH_MAX], link[64];
        ssize_t n;
        if (at == AT_FDCWD)
            snprintf(link, sizeof link, "/proc/self/cwd");
        else
            snprintf(link, sizeof link, "/proc/self/fd/%d", at);
        n = readlink(link, base, sizeof base - 1);
        if (n < 0)
            return 0;
        base[n] = 0;
        if ((size_t)snprintf(out, PATH_MAX, "%s/%s", base, path) >= PATH_MAX)
            return 0;
    }
    return inside(out);
}

static uint64_t inode_of(const char *path) {
    struct stat found;
    return lstat(path, &found) == 0 ? found.st_ino : 0;
}

static uint64_t parent_of(const char *path) {
    char copy[PATH_MAX];
    snprintf(copy, sizeof copy, "%s", path);
    char *slash = strrchr(copy, '/');
    if (!slash || slash == copy)
        return 0;
    *slash = 0;
    return inode_of(copy);
}

static void note(struct record *r, const char *path, const char *second, const void *bytes, size_t count) {
    r->path_len = path ? strlen(path) : 0;
    r->second_len = second ? strlen(second) : 0;
    r->bytes_len = count;
    if (r->kind != SYNC)
        r->seq = ++seq;
    struct iovec parts[4] = {
        {r, sizeof *r}, {(void *)path, r->path_len}, {(void *)second, r->second_len}, {(void *)bytes, count}};
    size_t all = sizeof *r + r->path_len + r->second_len + count;
    /* Appended in one call: a kill leaves all of it, or a cut record at the journal's end. */
    if (REAL(writev)(journal, parts, 4) != (ssize_t)all)
        give_up("the journal");
}

static uint64_t bury(const char *path) {
    char grave[PATH_MAX + 32];
    uint64_t number = ++grave_count;
    snprintf(grave, sizeof grave, "%s/%llu", graves, (unsigned long long)number);
    if (REAL(link)(path, grave) != 0)
        give_up("a grave");
    return number;
}

/* Is this a regular file under the directory, by its descriptor? */
static int watched(int fd) {
    if (journal < 0 || fd < 0)
        return 0;
    if (fd < FDS && state[fd] != UNKNOWN)
        return state[fd] == WATCHED;
    struct stat found;
    char link[64], path[PATH_MAX];
    int yes = 0;
    if (fstat(fd, &found) == 0 && (S_ISREG(found.st_mode) || S_ISDIR(found.st_mode))) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t n = readlink(link, path, sizeof path - 1);
        if (n > 0) {
            path[n] = 0;
            yes = inside(path);
        }
    }
    if (fd < FDS)
        state[fd] = yes ? WATCHED : OTHER;
    return yes;
}

/* === opening and closing === */

static int open_noted(int at, const char *path, int flags, mode_t mode) {
    char full[PATH_MAX];
    int fd;
    if ((flags & (O_CREAT | O_TRUNC)) && (flags & O_TMPFILE) != O_TMPFILE && absolute(at, path, full)) {
        pthread_mutex_lock(&lock);
        struct stat before;
        int there = stat(full, &before) == 0;
        if (!there && (flags & O_CREAT)) {
            struct record r = {.kind = CREATE, .parent = parent_of(full)};
            note(&r, full, NULL, NULL, 0);
        } else if (there && (flags & O_TRUNC) && before.st_size > 0 && !(flags & O_EXCL)) {
            char *old = malloc(before.st_size);
            int in = REAL(open)(full, O_RDONLY | O_CLOEXEC);
            if (!old || in < 0 || pread(in, old, before.st_size, 0) != before.st_size)
                give_up("a file that is cut");
            REAL(close)(in);
            struct record r = {.kind = TRUNCATE, .inode = before.st_ino, .size = before.st_size, .offset = 0};
            note(&r, full, NULL, old, before.st_size);
            free(old);
        }
        fd = REAL(openat)(at, path, flags, mode);
        pthread_mutex_unlock(&lock);
    } else {
        fd = REAL(openat)(at, path, flags, mode);
    }
    if (fd >= 0 && fd < FDS)
        state[fd] = UNKNOWN;
    return fd;
}

#define MODE(flags)                                                                                                    \
    mode_t mode = 0;                                                                                                   \
    if ((flags) & (O_CREAT | O_TMPFILE)) {                                                                             \
        va_list rest;                                                                                                  \
        va_start(rest, flags);                                                                                         \
        mode = va_arg(rest, mode_t);                                                                                   \
        va_end(rest);                                                                                                  \
    }

int open(const char *path, int flags, ...) {
    MODE(flags)
    return open_noted(AT_FDCWD, path, flags, mode);
}
int open64(const char *path, int flags, ...) {
    MODE(flags)
    return open_noted(AT_FDCWD, path, flags, mode);
}
int openat(int at, const char *path, int flags, ...) {
    MODE(flags)
    return open_noted(at, path, flags, mode);
}
int openat64(int at, const char *path, int flags, ...) {
    MODE(flags)
    return open_noted(at, path, flags, mode);
}
int creat(const char *path, mode_t mode) {
    return open_noted(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}
int creat64(const char *path, mode_t mode) {
    return open_noted(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

int close(int fd) {
    if (fd >= 0 && fd < FDS)
        state[fd] = UNKNOWN;
    return REAL(close)(fd);
}

/* === contents === */

/* Notes what a write of `count` bytes at `offset` replaces; the lock is held. */
static void before_write(int fd, uint64_t offset, size_t count) {
    struct stat found;
    if (fstat(fd, &found) != 0)
        give_up("a file's length");
    uint64_t size = found.st_size, old = 0;
    char *bytes = NULL;
    if (offset < size) {
        old = size - offset < count ? size - offset : count;
        bytes = malloc(old);
        char link[64];
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        int in = REAL(open)(link, O_RDONLY | O_CLOEXEC);
        if (!bytes || in < 0 || pread(in, bytes, old, offset) != (ssize_t)old)
            give_up("bytes that are replaced");
        REAL(close)(in);
    }
    struct record r = {.kind = WRITE, .inode = found.st_ino, .offset = offset, .length = count, .size = size};
    note(&r, NULL, NULL, bytes, old);
    free(bytes);
}

static uint64_t place(int fd) {
    int flags = fcntl(fd, F_GETFL);
    struct stat found;
    if (flags >= 0 && (flags & O_APPEND) && fstat(fd, &found) == 0)
        return found.st_size;
    return lseek(fd, 0, SEEK_CUR);
}

static size_t sum(const struct iovec *parts, int count) {
    size_t all = 0;
    for (int i = 0; i < count; i++)
        all += parts[i].iov_len;
    return all;
}

#define NOTED(fd, offset, count, call)                                                                                 \
    if (!watched(fd))                                                                                                  \
        return call;                                                                                                   \
    pthread_mutex_lock(&lock);                                                                                         \
    before_write(fd, offset, count);                                                                                   \
    ssize_t done = call;                                                                                               \
    int error = errno;                                                                                                 \
    pthread_mutex_unlock(&lock);                                                                                       \
    errno = error;                                                                                                     \
    return done;

ssize_t write(int fd, const void *bytes, size_t count) {
    NOTED(fd, place(fd), count, REAL(write)(fd, bytes, count))
}
ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset) {
    NOTED(fd, offset, count, REAL(pwrite)(fd, bytes, count, offset))
}
ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset) {
    NOTED(fd, offset, count, REAL(pwrite64)(fd, bytes, count, offset))
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
    NOTED(fd, place(fd), sum(parts, count), REAL(writev)(fd, parts, count))
}
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) {
    NOTED(fd, offset, sum(parts, count), REAL(pwritev)(fd, parts, count, offset))
}
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset) {
    NOTED(fd, offset, sum(parts, count), REAL(pwritev64)(fd, parts, count, offset))
}

static void before_truncate(int fd, uint64_t length) {
    struct stat found;
    if (fstat(fd, &found) != 0)
        give_up("a file's length");
    uint64_t size = found.st_size, old = length < size ? size - length : 0;
    char *bytes = old ? malloc(old) : NULL;
    if (old) {
        char link[64];
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        int in = REAL(open)(link, O_RDONLY | O_CLOEXEC);
        if (!bytes || in < 0 || pread(in, bytes, old, length) != (ssize_t)old)
            give_up("bytes that are cut");
        REAL(close)(in);
    }
    struct record r = {.kind = TRUNCATE, .inode = found.st_ino, .offset = length, .size = size};
    note(&r, NULL, NULL, bytes, old);
    free(bytes);
}

int ftruncate(int fd, off_t length) {
    if (!watched(fd))
        return REAL(ftruncate)(fd, length);
    pthread_mutex_lock(&lock);
    before_truncate(fd, length);
    int done = REAL(ftruncate)(fd, length);
    pthread_mutex_unlock(&lock);
    return done;
}
int ftruncate64(int fd, off64_t length) {
    return ftruncate(fd, length);
}

/* What would change files behind the journal's back is refused; callers fall back to writes. */
ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t count, unsigned flags) {
    if (watched(out)) {
        errno = EXDEV;
        return -1;
    }
    return REAL(copy_file_range)(in, from, out, to, count, flags);
}
ssize_t sendfile64(int out, int in, off64_t *offset, size_t count);
ssize_t sendfile(int out, int in, off_t *offset, size_t count) {
    if (watched(out)) {
        errno = EINVAL;
        return -1;
    }
    return ((ssize_t(*)(int, int, off_t *, size_t))real("sendfile"))(out, in, offset, count);
}
ssize_t sendfile64(int out, int in, off64_t *offset, size_t count) {
    return sendfile(out, in, offset, count);
}
int fallocate(int fd, int mode, off_t offset, off_t length) {
    if (watched(fd)) {
        errno = EOPNOTSUPP;
        return -1;
    }
    return REAL(fallocate)(fd, mode, offset, length);
}
int fallocate64(int fd, int mode, off64_t offset, off64_t length) {
    return fallocate(fd, mode, offset, length);
}

/* === names === */

int renameat2(int from_at, const char *from, int to_at, const char *to, unsigned flags) {
    char old[PATH_MAX], new[PATH_MAX];
    int known = absolute(from_at, from, old), known_too = absolute(to_at, to, new);
    if (!known && !known_too)
        return REAL(renameat2)(from_at, from, to_at, to, flags);
    pthread_mutex_lock(&lock);
    struct stat replaced;
    struct record r = {.kind = RENAME, .inode = inode_of(old), .parent = parent_of(old), .parent2 = parent_of(new)};
    if (r.inode && stat(new, &replaced) == 0 && S_ISREG(replaced.st_mode) && replaced.st_ino != r.inode)
        r.grave = bury(new);
    if (r.inode)
        note(&r, old, new, NULL, 0);
    int done = REAL(renameat2)(from_at, from, to_at, to, flags), error = errno;
    if (done != 0 && r.inode)
        give_up("a rename that failed");
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}
int renameat(int from_at, const char *from, int to_at, const char *to) {
    return renameat2(from_at, from, to_at, to, 0);
}
int rename(const char *from, const char *to) {
    return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0);
}

int unlinkat(int at, const char *path, int flags) {
    char full[PATH_MAX];
    if (!absolute(at, path, full))
        return REAL(unlinkat)(at, path, flags);
    pthread_mutex_lock(&lock);
    struct stat found;
    if (lstat(full, &found) == 0) {
        if (flags & AT_REMOVEDIR) {
            int done = REAL(unlinkat)(at, path, flags), error = errno;
            if (done == 0) {
                struct record r = {.kind = RMDIR, .parent = parent_of(full)};
                note(&r, full, NULL, NULL, 0);
            }
            pthread_mutex_unlock(&lock);
            errno = error;
            return done;
        }
        struct record r = {.kind = UNLINK, .inode = found.st_ino, .parent = parent_of(full)};
        /* A socket or a link holds nothing that could come back. */
        if (S_ISREG(found.st_mode)) {
            r.grave = bury(full);
            note(&r, full, NULL, NULL, 0);
        }
    }
    int done = REAL(unlinkat)(at, path, flags), error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}
int unlink(const char *path) {
    return unlinkat(AT_FDCWD, path, 0);
}
int rmdir(const char *path) {
    return unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}

int mkdirat(int at, const char *path, mode_t mode) {
    char full[PATH_MAX];
    if (!absolute(at, path, full))
        return REAL(mkdirat)(at, path, mode);
    pthread_mutex_lock(&lock);
    struct stat found;
    if (stat(full, &found) != 0) {
        struct record r = {.kind = MKDIR, .parent = parent_of(full)};
        note(&r, full, NULL, NULL, 0);
    }
    int done = REAL(mkdirat)(at, path, mode), error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}
int mkdir(const char *path, mode_t mode) {
    return mkdirat(AT_FDCWD, path, mode);
}

int linkat(int from_at, const char *from, int to_at, const char *to, int flags) {
    char full[PATH_MAX];
    if (!absolute(to_at, to, full))
        return REAL(linkat)(from_at, from, to_at, to, flags);
    pthread_mutex_lock(&lock);
    struct stat found;
    if (stat(full, &found) != 0) {
        struct record r = {.kind = LINK, .parent = parent_of(full)};
        note(&r, full, NULL, NULL, 0);
    }
    int done = REAL(linkat)(from_at, from, to_at, to, flags), error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}
int link(const char *from, const char *to) {
    return linkat(AT_FDCWD, from, AT_FDCWD, to, 0);
}

/* === syncing === */

static int synced(int fd, int (*call)(int)) {
    if (!watched(fd))
        return call(fd);
    struct stat found;
    if (fstat(fd, &found) != 0)
        give_up("a file that is synced");
    pthread_mutex_lock(&lock);
    uint64_t upto = seq;
    pthread_mutex_unlock(&lock);
    int done = call(fd), error = errno;
    if (done == 0) {
        pthread_mutex_lock(&lock);
        struct record r = {.kind = SYNC, .seq = upto, .inode = found.st_ino};
        note(&r, NULL, NULL, NULL, 0);
        pthread_mutex_unlock(&lock);
    }
    errno = error;
    return done;
}
int fsync(int fd) {
    return synced(fd, REAL(fsync));
}
int fdatasync(int fd) {
    return synced(fd, REAL(fdatasync));
}
