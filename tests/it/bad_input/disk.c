/* A disk with as much room as the bytes in a file, named by PERRON_TEST_ROOM, say: what is written
 * to regular files uses it up, and past it writes fail as on a full disk. A new number in the file
 * is new room. The two streams of the process itself don't count. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static char seen[32];
static long long left;

static long long room(void) {
    char text[32] = {0};
    const char *name = getenv("PERRON_TEST_ROOM");
    int file = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
    if (file >= 0) {
        long got = read(file, text, sizeof text - 1);
        close(file);
        if (got > 0 && strcmp(text, seen) != 0) {
            strcpy(seen, text);
            left = strtoll(text, NULL, 10);
        }
    }
    return left;
}

/* Takes up to `bytes` of the room; gives how many it got. */
static long long take(int file, long long bytes) {
    struct stat about;
    if (file <= 2 || fstat(file, &about) != 0 || !S_ISREG(about.st_mode)) return bytes;
    pthread_mutex_lock(&turn);
    long long got = room();
    if (got > bytes) got = bytes;
    if (got > 0) left -= got;
    pthread_mutex_unlock(&turn);
    return got;
}

#define REAL(name) __typeof__(&name) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)
#define FULL(got, bytes) if ((got) <= 0 && (bytes) > 0) { errno = ENOSPC; return -1; }

ssize_t write(int file, const void *from, size_t bytes) {
    REAL(write);
    long long got = take(file, bytes);
    FULL(got, bytes)
    return real(file, from, got);
}

ssize_t pwrite64(int file, const void *from, size_t bytes, off64_t at) {
    REAL(pwrite64);
    long long got = take(file, bytes);
    FULL(got, bytes)
    return real(file, from, got, at);
}

ssize_t pwrite(int file, const void *from, size_t bytes, off_t at) { return pwrite64(file, from, bytes, at); }

ssize_t writev(int file, const struct iovec *from, int parts) {
    REAL(writev);
    long long bytes = 0;
    for (int i = 0; i < parts; i++) bytes += from[i].iov_len;
    long long got = take(file, bytes);
    FULL(got < bytes ? 0 : got, bytes)
    return real(file, from, parts);
}

int fallocate64(int file, int mode, off64_t at, off64_t bytes) {
    REAL(fallocate64);
    FULL(take(file, bytes) < bytes ? 0 : 1, bytes)
    return real(file, mode, at, bytes);
}

static void tell(unsigned long unit, fsblkcnt64_t *free, fsblkcnt64_t *available) {
    pthread_mutex_lock(&turn);
    long long now = room();
    pthread_mutex_unlock(&turn);
    *free = *available = now > 0 ? now / unit : 0;
}

int statvfs64(const char *restrict path, struct statvfs64 *restrict about) {
    REAL(statvfs64);
    int answer = real(path, about);
    if (answer == 0) tell(about->f_frsize, &about->f_bfree, &about->f_bavail);
    return answer;
}

int statvfs(const char *restrict path, struct statvfs *restrict about) {
    return statvfs64(path, (struct statvfs64 *)about);
}
