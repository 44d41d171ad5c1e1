/* The firmware as a program: RTU on a serial device in real time, FRAM in a file, a tap that runs while the valve is
 * driven. `pty:LINK` instead of a device makes a pseudo-terminal and a link to its other end. Standard input takes `flow ML_PER_S`, `temp DECIDEGC`, `card HEX`, `stop`; its end changes nothing.
 * SIGTERM is a falling supply, SIGKILL a power cut. */
#define _DEFAULT_SOURCE
#define _XOPEN_SOURCE 600
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "../src/device.h"

enum { STALL_US = 50000 };

struct bench {
    struct hwo1 device;
    int tty, fram;
    bool valve;
    long flow_ml_per_s;
    int16_t temp;
    uint64_t last_tick_us;
    /* pulses x 10^12: what of a pulse has not been counted yet */
    uint64_t fraction;
};

static volatile sig_atomic_t stopping;

static void stop(int number)
{
    (void)number;
    stopping = 1;
}

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static uint64_t clock_us(clockid_t id)
{
    struct timespec t;

    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void fram_read(void *context, uint16_t at, uint8_t *to, uint16_t size)
{
    if (pread(((struct bench *)context)->fram, to, size, at) != size)
        fail("FRAM file");
}

static void fram_write(void *context, uint16_t at, const uint8_t *from, uint16_t size)
{
    if (pwrite(((struct bench *)context)->fram, from, size, at) != size)
        fail("FRAM file");
}

static void valve(void *context, bool open)
{
    ((struct bench *)context)->valve = open;
}

static void uart_send(void *context, const uint8_t *bytes, uint16_t size)
{
    while (size != 0) {
        ssize_t sent = write(((struct bench *)context)->tty, bytes, size);

        if (sent <= 0)
            return;
        bytes += sent;
        size = (uint16_t)(size - sent);
    }
}

static int open_tty(const char *path)
{
    struct termios mode;
    int tty = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK);

    if (tty < 0 || tcgetattr(tty, &mode) != 0)
        fail(path);
    cfmakeraw(&mode);
    cfsetspeed(&mode, B38400);
    if (tcsetattr(tty, TCSANOW, &mode) != 0)
        fail(path);
    return tty;
}

/* Make a pseudo-terminal. Its far end stays open here, so that a client may come and go. */
static int make_pty(const char *link)
{
    int tty = posix_openpt(O_RDWR | O_NOCTTY);
    const char *far = NULL;

    if (tty >= 0 && grantpt(tty) == 0 && unlockpt(tty) == 0)
        far = ptsname(tty);
    if (far == NULL || fcntl(tty, F_SETFL, O_NONBLOCK) != 0)
        fail("pseudo-terminal");
    open_tty(far);
    unlink(link);
    if (symlink(far, link) != 0)
        fail(link);
    return tty;
}

static int open_fram(const char *path)
{
    int fram = open(path, O_RDWR | O_CREAT, 0644);

    if (fram < 0 || ftruncate(fram, HAL_FRAM_BYTES) != 0)
        fail(path);
    return fram;
}

static struct hal_sample measured(const struct bench *b)
{
    struct hal_sample sample = {0};

    sample.temp = b->temp;
    sample.temp_in = HAL_NO_TEMP;
    sample.temp_mcu = 310;
    sample.supply_mv = 24000;
    sample.backup_mv = 3300;
    return sample;
}

static void tick(struct bench *b, uint64_t now_us)
{
    struct hal_sample sample = measured(b);
    uint64_t k = b->device.config[CONFIG_CFG_CAL_K], flowed_us = now_us - b->last_tick_us;

    /* a program that was kept waiting lets no water run meanwhile: on a board the tick is never late */
    if (flowed_us > STALL_US)
        flowed_us = STALL_US;
    if (b->valve)
        b->fraction += (uint64_t)b->flow_ml_per_s * flowed_us * k;
    b->last_tick_us = now_us;
    sample.pulses = (uint32_t)(b->fraction / UINT64_C(1000000000000));
    b->fraction %= UINT64_C(1000000000000);
    device_tick(&b->device, now_us / 1000, &sample);
}

static void present(struct bench *b, const char *hex)
{
    uint8_t uid[UID_BYTES_MAX];
    uint16_t size = 0;
    unsigned byte;

    for (; size < UID_BYTES_MAX && sscanf(hex, "%2x", &byte) == 1; hex += 2)
        uid[size++] = (uint8_t)byte;
    mailbox_post(&b->device, HWO1_MAILBOX_SOURCE_UID, uid, size, uid, 0);
}

/* Obey the lines on standard input; return false at its end. */
static bool obey(struct bench *b)
{
    static char line[256];
    static size_t used;
    ssize_t got = read(STDIN_FILENO, line + used, 1);
    long number;

    if (got <= 0)
        return got < 0 && errno == EINTR;
    if (line[used] != '\n') {
        used += used + 1 < sizeof line ? 1 : 0;
        return true;
    }
    line[used] = '\0';
    used = 0;
    if (sscanf(line, "flow %ld", &number) == 1)
        b->flow_ml_per_s = number;
    else if (sscanf(line, "temp %ld", &number) == 1)
        b->temp = (int16_t)number;
    else if (strncmp(line, "card ", 5) == 0)
        present(b, line + 5);
    else if (strcmp(line, "stop") == 0)
        device_press_stop(&b->device, b->last_tick_us / 1000);
    return true;
}

/* A host reads bytes late and a terminal has no speed, so silence on the line is only what passes while nothing waits to
 * be read: `line_us` stands still meanwhile and catches up when no frame is under way. */
static void serve(struct bench *b)
{
    struct pollfd wait[2] = {{0, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
    uint64_t line_us = b->last_tick_us, looked_us = b->last_tick_us;
    uint8_t bytes[ADU_BYTES_MAX];

    wait[0].fd = b->tty;
    while (!stopping) {
        bool busy = b->device.rtu.in_len != 0 || b->device.rtu.out_len != 0;
        uint64_t now_us;

        poll(wait, 2, busy ? 1 : TICK_MS);
        now_us = clock_us(CLOCK_MONOTONIC);
        if (!busy)
            line_us = now_us;
        else if (wait[0].revents == 0)
            line_us += now_us - looked_us;
        looked_us = now_us;
        if (wait[0].revents != 0) {
            ssize_t got = read(b->tty, bytes, sizeof bytes);

            for (ssize_t i = 0; i < got; i++)
                rtu_byte(&b->device, bytes[i], line_us);
        }
        rtu_look(&b->device, line_us);
        if (wait[1].revents != 0 && !obey(b))
            wait[1].fd = -1;
        if (now_us - b->last_tick_us >= TICK_MS * 1000)
            tick(b, now_us);
    }
    device_falling_supply(&b->device, clock_us(CLOCK_MONOTONIC) / 1000);
}

static long option(int count, char **words, const char *name, long otherwise)
{
    for (int i = 3; i + 1 < count; i += 2)
        if (strcmp(words[i], name) == 0)
            return strtol(words[i + 1], NULL, 10);
    return otherwise;
}

int main(int count, char **words)
{
    static struct bench b;
    struct hal hal = {&b, fram_read, fram_write, valve, uart_send};
    struct identity identity = {"HWO-1", "HW-00001", UINT64_C(0x4357000000000001), 0, 0, false, false, {0}};
    struct hal_sample sample;
    struct sigaction on_stop;

    if (count < 3 || count % 2 == 0) {
        fprintf(stderr, "usage: %s TTY|pty:LINK FRAMFILE [--flow ML_PER_S] [--temp DECIDEGC] [--unit N] [--k PULSES_PER_M3]\n",
                words[0]);
        return 2;
    }
    memset(&on_stop, 0, sizeof on_stop);
    on_stop.sa_handler = stop;
    sigaction(SIGTERM, &on_stop, NULL);
    sigaction(SIGINT, &on_stop, NULL);
    b.flow_ml_per_s = option(count, words, "--flow", 150);
    b.temp = (int16_t)option(count, words, "--temp", 400);
    identity.unit = (uint8_t)option(count, words, "--unit", 1);
    identity.k_factor = (uint32_t)option(count, words, "--k", 450000);
    b.tty = strncmp(words[1], "pty:", 4) == 0 ? make_pty(words[1] + 4) : open_tty(words[1]);
    b.fram = open_fram(words[2]);
    b.last_tick_us = clock_us(CLOCK_MONOTONIC);
    sample = measured(&b);
    device_start(&b.device, &hal, &identity, &sample, b.last_tick_us / 1000, clock_us(CLOCK_REALTIME) / 1000);
    puts("ready");
    fflush(stdout);
    serve(&b);
    return 0;
}
