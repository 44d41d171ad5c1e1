/* The firmware as a shared library with time, FRAM and power in the caller's hands. A power cut leaves the firmware in
 * the middle of a FRAM write, exactly as the machine would: what was written stays, nothing after it happens. */
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include "../src/device.h"

enum { DEAD = -1, SENT_BYTES_MAX = 4096, BANKS_END = 1024 };

struct host {
    struct hwo1 device;
    struct hal hal;
    struct identity identity;
    uint8_t fram[HAL_FRAM_BYTES];
    uint8_t sent[SENT_BYTES_MAX];
    uint16_t sent_size;
    bool powered, valve;
    uint32_t writes, saves, cut_write, cut_save;
    uint16_t cut_bytes;
    jmp_buf out_of_power;
};

/* Leave the running call with DEAD when the power goes while it runs. */
#define POWERED(h)                                                                                                     \
    if (!(h)->powered || setjmp((h)->out_of_power) != 0)                                                               \
        return DEAD

static void cut(struct host *h)
{
    h->powered = h->valve = false;
    h->cut_write = h->cut_save = 0;
    longjmp(h->out_of_power, 1);
}

static void fram_read(void *context, uint16_t at, uint8_t *to, uint16_t size)
{
    memcpy(to, ((struct host *)context)->fram + at, size);
}

static void fram_write(void *context, uint16_t at, const uint8_t *from, uint16_t size)
{
    struct host *h = context;
    bool last = h->cut_write != 0 && --h->cut_write == 0;

    last = (at < BANKS_END && h->cut_save != 0 && --h->cut_save == 0) || last;
    h->writes++;
    h->saves += at < BANKS_END;
    if (last && h->cut_bytes < size)
        size = h->cut_bytes;
    memcpy(h->fram + at, from, size);
    if (last)
        cut(h);
}

static void valve(void *context, bool open)
{
    ((struct host *)context)->valve = open;
}

static void uart_send(void *context, const uint8_t *bytes, uint16_t size)
{
    struct host *h = context;

    if (h->sent_size + size <= SENT_BYTES_MAX) {
        memcpy(h->sent + h->sent_size, bytes, size);
        h->sent_size = (uint16_t)(h->sent_size + size);
    }
}

struct host *host_new(const char *model, const char *serial, uint64_t device_uid, uint32_t k_factor, uint8_t unit,
                      int temp_in, const uint8_t *key)
{
    struct host *h = calloc(1, sizeof *h);

    if (h == NULL)
        return NULL;
    strncpy(h->identity.model, model, sizeof h->identity.model - 1);
    strncpy(h->identity.serial, serial, sizeof h->identity.serial - 1);
    h->identity.device_uid = device_uid;
    h->identity.k_factor = k_factor;
    h->identity.unit = unit;
    h->identity.temp_in = temp_in != 0;
    h->identity.has_key = key != NULL;
    if (key != NULL)
        memcpy(h->identity.key, key, CMAC_KEY_BYTES);
    h->hal.context = h;
    h->hal.fram_read = fram_read;
    h->hal.fram_write = fram_write;
    h->hal.valve = valve;
    h->hal.uart_send = uart_send;
    return h;
}

/* The MAC alone, to be compared with published vectors. */
void host_cmac(const uint8_t *key, const uint8_t *message, uint16_t size, uint8_t *mac)
{
    cmac(key, message, size, mac);
}

void host_free(struct host *h)
{
    free(h);
}

uint8_t *host_fram(struct host *h)
{
    return h->fram;
}

uint32_t host_fram_writes(const struct host *h)
{
    return h->writes;
}

uint32_t host_saves(const struct host *h)
{
    return h->saves;
}

int host_valve(const struct host *h)
{
    return h->valve;
}

int host_powered(const struct host *h)
{
    return h->powered;
}

/* Lose power at the n-th FRAM write from now, when `bytes` bytes of it are in memory. */
void host_cut_at_write(struct host *h, uint32_t writes, uint16_t bytes)
{
    h->cut_write = writes;
    h->cut_bytes = bytes;
}

/* Lose power at the n-th save of the state from now, when `bytes` bytes of the bank are in memory. */
void host_cut_at_save(struct host *h, uint32_t saves, uint16_t bytes)
{
    h->cut_save = saves;
    h->cut_bytes = bytes;
}

int host_power_up(struct host *h, const struct hal_sample *sample, uint64_t now_ms, uint64_t unix_ms)
{
    h->powered = true;
    h->sent_size = 0;
    POWERED(h);
    device_start(&h->device, &h->hal, &h->identity, sample, now_ms, unix_ms);
    return 0;
}

void host_pull_the_plug(struct host *h)
{
    h->powered = h->valve = false;
}

int host_tick(struct host *h, uint64_t now_ms, const struct hal_sample *sample)
{
    POWERED(h);
    device_tick(&h->device, now_ms, sample);
    return 0;
}

int host_feed(struct host *h, const uint8_t *bytes, uint16_t size, uint64_t now_us)
{
    POWERED(h);
    for (uint16_t i = 0; i < size; i++)
        rtu_byte(&h->device, bytes[i], now_us);
    return 0;
}

int host_look(struct host *h, uint64_t now_us)
{
    POWERED(h);
    rtu_look(&h->device, now_us);
    return 0;
}

/* Take the bytes sent so far; `to` has room for SENT_BYTES_MAX. */
int host_take(struct host *h, uint8_t *to)
{
    int size = h->sent_size;

    memcpy(to, h->sent, h->sent_size);
    h->sent_size = 0;
    return size;
}

int host_peek(struct host *h, int table, uint16_t address, uint16_t count, uint16_t *words)
{
    POWERED(h);
    return registers_read(&h->device, (enum table)table, address, count, words);
}

int host_post(struct host *h, uint16_t source, const uint8_t *uid, uint16_t uid_len, const uint8_t *payload, uint16_t len)
{
    POWERED(h);
    return mailbox_post(&h->device, source, uid, uid_len, payload, len);
}

int host_press_stop(struct host *h, uint64_t now_ms)
{
    POWERED(h);
    device_press_stop(&h->device, now_ms);
    return 0;
}

int host_falling_supply(struct host *h, uint64_t now_ms)
{
    POWERED(h);
    device_falling_supply(&h->device, now_ms);
    return 0;
}
