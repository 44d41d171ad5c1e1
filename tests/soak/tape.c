/*
 * Preloaded into a process, writes down in order what it does to the files of one folder, as a disk would see it.
 *
 * TAPE_FOLDER is the folder, TAPE_FILE the tape. A record is: one letter, the length of the file's name (2 bytes), the
 * offset and the number of bytes (8 bytes each), the name, the bytes; integers little-endian. Letters: W written at an
 * offset, A appended, T cut to a length (the offset), S synced, U removed.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#define FDS 4096

static char names[FDS][64];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int tape = -1;

static void put(char letter, const char *name, uint64_t offset, const void *data, uint64_t count)
{
    unsigned char head[19];
    uint16_t length = (uint16_t)strlen(name);
    if (tape < 0)
        tape = (int)syscall(SYS_openat, AT_FDCWD, getenv("TAPE_FILE"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    head[0] = (unsigned char)letter;
    memcpy(head + 1, &length, 2);
    memcpy(head + 3, &offset, 8);
    memcpy(head + 11, &count, 8);
    syscall(SYS_write, tape, head, sizeof head);
    syscall(SYS_write, tape, name, (size_t)length);
    if (count > 0)
        syscall(SYS_write, tape, data, (size_t)count);
}

static const char *inside(const char *path)
{
    const char *folder = getenv("TAPE_FOLDER");
    size_t length = folder != NULL ? strlen(folder) : 0;
    if (length == 0 || strncmp(path, folder, length) != 0 || path[length] != '/' || strlen(path + length) > 60)
        return NULL;
    return path + length + 1;
}

static int opened(int fd, const char *path)
{
    const char *name = fd >= 0 && fd < FDS ? inside(path) : NULL;
    if (fd >= 0 && fd < FDS) {
        names[fd][0] = 0;
        if (name != NULL && strstr(name, "-shm") == NULL)
            strcpy(names[fd], name);
    }
    return fd;
}

static const char *name_of(int fd)
{
    return fd >= 0 && fd < FDS && names[fd][0] != 0 ? names[fd] : NULL;
}

#define REAL(type, symbol, ...)                                                                                       \
    static type (*real)(__VA_ARGS__);                                                                                 \
    if (real == NULL)                                                                                                 \
        real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, symbol)

#define OPEN(function)                                                                                                \
    int function(const char *path, int flags, ...)                                                                    \
    {                                                                                                                 \
        REAL(int, #function, const char *, int, ...);                                                                 \
        va_list more;                                                                                                 \
        va_start(more, flags);                                                                                        \
        mode_t mode = va_arg(more, mode_t);                                                                           \
        va_end(more);                                                                                                 \
        return opened(real(path, flags, mode), path);                                                                 \
    }

OPEN(open)
OPEN(open64)

int close(int fd)
{
    REAL(int, "close", int);
    if (fd >= 0 && fd < FDS)
        names[fd][0] = 0;
    return real(fd);
}

#define AROUND(letter, offset, data, call)                                                                            \
    const char *name = name_of(fd);                                                                                   \
    if (name == NULL)                                                                                                 \
        return call;                                                                                                  \
    pthread_mutex_lock(&lock);                                                                                        \
    ssize_t done = call;                                                                                              \
    if (done >= 0)                                                                                                    \
        put(letter, name, (uint64_t)(offset), data, (data) == NULL ? 0 : (uint64_t)done);                             \
    pthread_mutex_unlock(&lock);                                                                                      \
    return done

ssize_t pwrite(int fd, const void *data, size_t count, off_t offset)
{
    REAL(ssize_t, "pwrite", int, const void *, size_t, off_t);
    AROUND('W', offset, data, real(fd, data, count, offset));
}

ssize_t pwrite64(int fd, const void *data, size_t count, off64_t offset)
{
    REAL(ssize_t, "pwrite64", int, const void *, size_t, off64_t);
    AROUND('W', offset, data, real(fd, data, count, offset));
}

ssize_t write(int fd, const void *data, size_t count)
{
    REAL(ssize_t, "write", int, const void *, size_t);
    AROUND('A', 0, data, real(fd, data, count));
}

#define NOTHING ((const void *)0)

static ssize_t cut(int fd, off64_t length, int result)
{
    AROUND('T', length, NOTHING, (ssize_t)result);
}

int ftruncate(int fd, off_t length)
{
    REAL(int, "ftruncate", int, off_t);
    return (int)cut(fd, length, real(fd, length));
}

int ftruncate64(int fd, off64_t length)
{
    REAL(int, "ftruncate64", int, off64_t);
    return (int)cut(fd, length, real(fd, length));
}

static ssize_t synced(int fd, int result)
{
    AROUND('S', 0, NOTHING, (ssize_t)result);
}

int fsync(int fd)
{
    REAL(int, "fsync", int);
    return (int)synced(fd, real(fd));
}

int fdatasync(int fd)
{
    REAL(int, "fdatasync", int);
    return (int)synced(fd, real(fd));
}

int unlink(const char *path)
{
    REAL(int, "unlink", const char *);
    const char *name = inside(path);
    int result = real(path);
    if (result == 0 && name != NULL) {
        pthread_mutex_lock(&lock);
        put('U', name, 0, NULL, 0);
        pthread_mutex_unlock(&lock);
    }
    return result;
}
