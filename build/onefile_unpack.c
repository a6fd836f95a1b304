/* Runs before the executable unpacks itself into the user's cache, on Linux and macOS (docs/decisions/0013-the-executable.md).

   - One instance unpacks at a time: BOINC starts one task a processor, so the first start is often many starts at once.
   - A stop that arrives while files are unpacked ends the program with exit code 4 (try again later) instead of being lost.
   - Where there is no cache that can be written to (an account without a home), a private folder below TMPDIR takes its place. */

#define _GNU_SOURCE     /* Nuitka compiles with -std=c11, which hides what POSIX adds */
#define _DARWIN_C_SOURCE

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <pwd.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { EXIT_TRY_LATER = 4 };

static const int stops[] = {SIGTERM, SIGINT, SIGQUIT};
static sigset_t signals_before;
static int lock = -1;

static void end(const char *line) {
    fprintf(stderr, "crystal-search-client: %s\n", line);
    _exit(EXIT_TRY_LATER);
}

/* A folder that this account alone can write to, made where it is missing. */
static bool is_usable(const char *folder) {
    struct stat found;
    if (mkdir(folder, 0700) != 0 && errno != EEXIST)
        return false;
    return stat(folder, &found) == 0 && S_ISDIR(found.st_mode) && access(folder, W_OK | X_OK) == 0;
}

static bool is_private(const char *folder) {
    struct stat found;
    return lstat(folder, &found) == 0 && S_ISDIR(found.st_mode) && found.st_uid == geteuid() && (found.st_mode & 022) == 0;
}

/* The cache as the unpacking code will find it, or false. */
static bool cache_folder(char *folder, size_t size) {
    const char *named = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (named != NULL && named[0] == '/')
        return (size_t)snprintf(folder, size, "%s", named) < size && is_usable(folder);
    if (home == NULL) {
        struct passwd *account = getpwuid(getuid());
        home = account == NULL ? NULL : account->pw_dir;
    }
    return home != NULL && (size_t)snprintf(folder, size, "%s/.cache", home) < size && is_usable(folder);
}

static bool private_folder(char *folder, size_t size) {
    const char *place = getenv("TMPDIR");
    int length = snprintf(folder, size, "%s/crystal-search-%ld", place == NULL ? "/tmp" : place, (long)geteuid());
    return (size_t)length < size && is_usable(folder) && is_private(folder) && setenv("XDG_CACHE_HOME", folder, 1) == 0;
}

/* Just before the bootstrap starts the program: everything is unpacked. */
static void unpacked(void) {
    sigset_t waiting;
    if (sigpending(&waiting) == 0)
        for (size_t i = 0; i < sizeof stops / sizeof *stops; i++)
            if (sigismember(&waiting, stops[i]) == 1)
                end("stopped; start it again and it continues");
    if (lock >= 0)
        close(lock);
    lock = -1;
}

static void listen_again(void) { sigprocmask(SIG_SETMASK, &signals_before, NULL); }

__attribute__((constructor)) static void before_unpacking(void) {
    char path[PATH_MAX];
    sigset_t held;
    size_t length;
    if (!cache_folder(path, sizeof path - 64) && !private_folder(path, sizeof path - 64))
        end("found no folder to unpack itself to: set XDG_CACHE_HOME to a folder that this account can write to");
    length = strlen(path);
    snprintf(path + length, sizeof path - length, "/crystal-search-client");
    if (is_usable(path)) {
        length = strlen(path);
        snprintf(path + length, sizeof path - length, "/unpacking.lock");
        lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        /* Without locks (some network file systems) it goes on unguarded. */
        while (lock >= 0 && flock(lock, LOCK_EX) != 0 && errno == EINTR)
            ;
    }
    sigemptyset(&held);
    for (size_t i = 0; i < sizeof stops / sizeof *stops; i++)
        sigaddset(&held, stops[i]);
    sigprocmask(SIG_BLOCK, &held, &signals_before);
    pthread_atfork(unpacked, listen_again, listen_again);
}
