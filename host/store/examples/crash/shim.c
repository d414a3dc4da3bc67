/* A disk that forgets: keeps, beside a folder, a mirror of what was synced in it.
 *
 * CRASH_ROOT         the folder that is watched
 * CRASH_MIRROR       where the mirror lies: ID.data holds a file as of its last sync, ID.names a folder's
 *                    names as of its last sync, as lines "f|d ID NAME"
 * CRASH_FAIL_SYNC    the number of the fdatasync that fails, once, with EIO; the next ones succeed, as on Linux
 * CRASH_FULL_AFTER   writes fail with ENOSPC once this many bytes were written
 * CRASH_LOSE_WRITE   at the sync_file_range with this number, a write was lost in the background, and whoever holds
 *                    the same descriptor has heard of it and kept it to itself. As on Linux, each other descriptor
 *                    that is open on the file at that moment fails its next sync once, with EIO, and descriptors
 *                    that are opened later hear nothing
 *
 * fsync and fdatasync carry over the pages written since, and the length. sync_file_range carries over pages,
 * but only within the length that is durable already. An ID is an inode, with a generation once it was reused.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGE 4096L
#define PAGES (1L << 17)
#define FILES 512

struct file {
    ino_t inode;
    unsigned long generation;
    unsigned char *dirty; /* a byte per page written since the last sync */
};

static struct file files[FILES];
static int file_count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *root, *mirror;
static size_t root_length;
static dev_t device;
static long fail_sync, syncs, full_after = -1, written, lose_write, ranges;
static char owed[1024]; /* descriptors that have yet to be told of a lost write */

static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static int (*real_fsync)(int), (*real_fdatasync)(int), (*real_ftruncate)(int, off_t);
static int (*real_unlink)(const char *), (*real_rename)(const char *, const char *);
static int (*real_range)(int, off64_t, off64_t, unsigned);

__attribute__((constructor)) static void start(void) {
    struct stat status;
    real_write = dlsym(RTLD_NEXT, "write");
    real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    real_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
    real_unlink = dlsym(RTLD_NEXT, "unlink");
    real_rename = dlsym(RTLD_NEXT, "rename");
    real_range = dlsym(RTLD_NEXT, "sync_file_range");
    root = getenv("CRASH_ROOT");
    mirror = getenv("CRASH_MIRROR");
    if (!root || !mirror || stat(root, &status)) {
        fprintf(stderr, "shim: CRASH_ROOT and CRASH_MIRROR must name folders\n");
        _exit(99);
    }
    root_length = strlen(root);
    device = status.st_dev;
    if (getenv("CRASH_FAIL_SYNC")) fail_sync = atol(getenv("CRASH_FAIL_SYNC"));
    if (getenv("CRASH_LOSE_WRITE")) lose_write = atol(getenv("CRASH_LOSE_WRITE"));
    if (getenv("CRASH_FULL_AFTER")) full_after = atol(getenv("CRASH_FULL_AFTER"));
}

/* The path of a descriptor below the root; 0 when it is elsewhere. */
static int below_root(int fd, struct stat *status, char *path, size_t size) {
    char link[64];
    ssize_t length;
    if (fd <= 2 || fstat(fd, status) || status->st_dev != device) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    length = readlink(link, path, size - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return !strncmp(path, root, root_length) && (path[root_length] == '/' || !path[root_length]);
}

static struct file *file_of(ino_t inode) {
    for (int i = 0; i < file_count; i++)
        if (files[i].inode == inode) return &files[i];
    if (file_count == FILES) {
        fprintf(stderr, "shim: panicked: too many files\n");
        _exit(99);
    }
    files[file_count].inode = inode;
    files[file_count].dirty = calloc(PAGES, 1);
    return &files[file_count++];
}

static unsigned long id_of(ino_t inode) {
    return inode + (file_of(inode)->generation << 40);
}

/* The inode's name is gone: whoever gets the number next is another file. */
static void forget(const char *path) {
    struct stat status;
    if (!lstat(path, &status) && status.st_dev == device && status.st_nlink == 1) {
        struct file *file = file_of(status.st_ino);
        file->generation++;
        memset(file->dirty, 0, PAGES);
    }
}

static void mark(ino_t inode, off_t from, off_t to) {
    struct file *file = file_of(inode);
    for (long page = from / PAGE; page * PAGE < to && page < PAGES; page++) file->dirty[page] = 1;
}

/* Carries the dirty pages of a range over into the mirror: with the length, or within the durable length only. */
static void carry(int fd, struct stat *status, off_t from, off_t to, int whole) {
    char path[4096], page[PAGE];
    struct file *file = file_of(status->st_ino);
    struct stat durable;
    int in, out;
    snprintf(path, sizeof path, "%s/%lu.data", mirror, id_of(status->st_ino));
    out = open(path, O_WRONLY | (whole ? O_CREAT : 0), 0644);
    if (out < 0) return;
    /* The descriptor itself may be open for writing only. */
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    in = open(path, O_RDONLY);
    if (in < 0) _exit(99);
    if (!whole && !fstat(out, &durable) && to > durable.st_size) to = durable.st_size;
    for (long index = from / PAGE; index * PAGE < to && index < PAGES; index++) {
        if (!file->dirty[index]) continue;
        ssize_t length = syscall(SYS_pread64, in, page, PAGE, index * PAGE);
        if (length > 0 && !whole && index * PAGE + length > to) length = to - index * PAGE;
        if (length > 0 && real_pwrite(out, page, length, index * PAGE) != length) _exit(99);
        if (whole) file->dirty[index] = 0;
    }
    if (whole && real_ftruncate(out, status->st_size)) _exit(99);
    syscall(SYS_close, in);
    syscall(SYS_close, out);
}

static void carry_names(const char *folder, ino_t inode) {
    char draft[4200], path[4096], name[4400];
    DIR *list = opendir(folder);
    struct dirent *entry;
    FILE *out;
    snprintf(path, sizeof path, "%s/%lu.names", mirror, id_of(inode));
    snprintf(draft, sizeof draft, "%s.draft", path);
    out = fopen(draft, "w");
    if (!list || !out) _exit(99);
    while ((entry = readdir(list))) {
        struct stat status;
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        snprintf(name, sizeof name, "%s/%s", folder, entry->d_name);
        if (lstat(name, &status)) continue;
        fprintf(out, "%c %lu %s\n", S_ISDIR(status.st_mode) ? 'd' : 'f', id_of(status.st_ino),
                entry->d_name);
    }
    closedir(list);
    fclose(out);
    real_rename(draft, path);
}

/* Whether the disk has no room for this many bytes more. */
static int is_full(size_t bytes) {
    written += bytes;
    return full_after >= 0 && written > full_after;
}

static ssize_t watched_write(int fd, const void *bytes, size_t count, off_t at, int positioned) {
    char path[4096];
    struct stat status;
    ssize_t done;
    if (!below_root(fd, &status, path, sizeof path) || !S_ISREG(status.st_mode))
        return positioned ? real_pwrite(fd, bytes, count, at) : real_write(fd, bytes, count);
    if (!positioned) at = lseek(fd, 0, SEEK_CUR);
    pthread_mutex_lock(&lock);
    if (is_full(count)) {
        pthread_mutex_unlock(&lock);
        errno = ENOSPC;
        return -1;
    }
    done = positioned ? real_pwrite(fd, bytes, count, at) : real_write(fd, bytes, count);
    if (done > 0) mark(status.st_ino, at, at + done);
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t write(int fd, const void *bytes, size_t count) {
    return watched_write(fd, bytes, count, 0, 0);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
    return watched_write(fd, bytes, count, at, 1);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) {
    return watched_write(fd, bytes, count, at, 1);
}

int ftruncate64(int fd, off64_t length) {
    char path[4096];
    struct stat status;
    int watched = below_root(fd, &status, path, sizeof path), done;
    pthread_mutex_lock(&lock);
    done = real_ftruncate(fd, length);
    if (watched && !done) {
        off_t from = status.st_size < length ? status.st_size : length;
        off_t to = status.st_size < length ? length : status.st_size;
        mark(status.st_ino, from, to);
    }
    pthread_mutex_unlock(&lock);
    return done;
}

int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

/* A write of this file was lost, and this descriptor has been told. */
static void lose(int fd, ino_t inode) {
    struct stat other;
    for (int peer = 0; peer < (int)sizeof owed; peer++)
        owed[peer] = peer != fd && !fstat(peer, &other) && other.st_ino == inode;
}

/* Whether this descriptor has yet to be told of a lost write; only once. */
static int tell(int fd) {
    int told = fd < (int)sizeof owed && owed[fd];
    if (told) owed[fd] = 0;
    return told;
}

int close(int fd) {
    if (fd >= 0 && fd < (int)sizeof owed) {
        pthread_mutex_lock(&lock);
        owed[fd] = 0;
        pthread_mutex_unlock(&lock);
    }
    return syscall(SYS_close, fd);
}

static int watched_sync(int fd, int (*sync)(int)) {
    char path[4096];
    struct stat status;
    int done;
    if (!below_root(fd, &status, path, sizeof path)) return sync(fd);
    pthread_mutex_lock(&lock);
    if ((sync == real_fdatasync && ++syncs == fail_sync) || tell(fd)) {
        pthread_mutex_unlock(&lock);
        errno = EIO;
        return -1;
    }
    pthread_mutex_unlock(&lock);
    done = sync(fd);
    if (done) return done;
    pthread_mutex_lock(&lock);
    if (S_ISDIR(status.st_mode)) {
        carry_names(path, status.st_ino);
    } else if (!fstat(fd, &status)) {
        carry(fd, &status, 0, status.st_size, 1);
    }
    pthread_mutex_unlock(&lock);
    return 0;
}

int fsync(int fd) { return watched_sync(fd, real_fsync); }

int fdatasync(int fd) { return watched_sync(fd, real_fdatasync); }

int sync_file_range(int fd, off64_t from, off64_t count, unsigned flags) {
    char path[4096];
    struct stat status;
    int done = real_range(fd, from, count, flags);
    if (!done && below_root(fd, &status, path, sizeof path)) {
        pthread_mutex_lock(&lock);
        if (++ranges == lose_write) lose(fd, status.st_ino);
        carry(fd, &status, from, count ? from + count : status.st_size, 0);
        pthread_mutex_unlock(&lock);
    }
    return done;
}

int unlink(const char *path) {
    int done;
    pthread_mutex_lock(&lock);
    struct stat status;
    int there = !lstat(path, &status) && status.st_dev == device;
    if (there) forget(path);
    done = real_unlink(path);
    pthread_mutex_unlock(&lock);
    return done;
}

int rename(const char *from, const char *to) {
    int done;
    pthread_mutex_lock(&lock);
    forget(to);
    done = real_rename(from, to);
    pthread_mutex_unlock(&lock);
    return done;
}
