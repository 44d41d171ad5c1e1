/* What survives a power cut, in 8 KB of FRAM: two banks of state, then the log ring.
 *
 * A commit first writes new records into places that no readable record uses (the ring has LOG_PENDING_MAX places more
 * than it shows), then the older bank with the next generation and a checksum. A cut anywhere leaves the state before. */
#include <string.h>

#include "bytes.h"
#include "crc.h"
#include "device.h"

enum {
    BANK_BYTES = 512,
    BANK_A = 0,
    RING_AT = 2 * BANK_BYTES,
    RING_PLACES = LOG_CAPACITY + LOG_PENDING_MAX,
    CHECKSUM_BYTES = 4
};

#define BANK_MAGIC UINT32_C(0x48573142)

/* Fails to compile when the layout outgrows the memory. */
typedef char layout_fits[RING_AT + RING_PLACES * RECORD_BYTES <= HAL_FRAM_BYTES ? 1 : -1];

/* A cursor over a bank: with `loading` false it writes the fields, with true it reads them, in one and the same order. */
struct cursor {
    uint8_t *at;
    bool loading;
};

static void field(struct cursor *c, void *value, uint8_t size)
{
    uint64_t number = 0;

    if (c->loading) {
        number = get_number(c->at, size);
        switch (size) {
        case 1: *(uint8_t *)value = (uint8_t)number; break;
        case 2: *(uint16_t *)value = (uint16_t)number; break;
        case 4: *(uint32_t *)value = (uint32_t)number; break;
        default: *(uint64_t *)value = number; break;
        }
    } else {
        switch (size) {
        case 1: number = *(uint8_t *)value; break;
        case 2: number = *(uint16_t *)value; break;
        case 4: number = *(uint32_t *)value; break;
        default: number = *(uint64_t *)value; break;
        }
        put_number(c->at, number, size);
    }
    c->at += size;
}

#define FIELD(c, value) field(c, &(value), sizeof(value))

static void results(struct cursor *c, struct hwo1 *d)
{
    FIELD(c, d->result_count);
    for (int i = 0; i < TOKENS_KEPT; i++) {
        struct result *r = &d->results[i];

        FIELD(c, r->token);
        FIELD(c, r->code);
        FIELD(c, r->detail);
        FIELD(c, r->session_id);
        FIELD(c, r->pulses);
        FIELD(c, r->snap);
    }
}

/* Faults are stored as they are; outlet_restore() keeps those that a power cut does not heal. */
static void fields(struct cursor *c, struct hwo1 *d)
{
    uint8_t open = d->dispense.open;

    FIELD(c, d->boot_id);
    FIELD(c, d->config_seq);
    for (int i = 0; i < CONFIG_COUNT; i++)
        FIELD(c, d->config[i]);
    FIELD(c, d->faults);
    FIELD(c, d->log.head);
    FIELD(c, d->log.acked);
    results(c, d);
    FIELD(c, d->total_pulses);
    FIELD(c, d->open_time_ms);
    FIELD(c, d->energy);
    FIELD(c, d->unbilled_pulses);
    FIELD(c, d->reverse_pulses);
    FIELD(c, d->valve_cycles);
    FIELD(c, d->last_session_id);
    FIELD(c, open);
    FIELD(c, d->dispense.session_id);
    FIELD(c, d->dispense.token_tag);
    FIELD(c, d->dispense.opening_pulses);
    d->dispense.open = open != 0;
}

uint16_t store_record_at(uint32_t sequence)
{
    return (uint16_t)(RING_AT + (sequence - 1) % RING_PLACES * RECORD_BYTES);
}

static bool bank_is_whole(const uint8_t *bank, uint32_t *generation)
{
    uint16_t body = BANK_BYTES - CHECKSUM_BYTES;

    *generation = (uint32_t)get_number(bank + 4, 4);
    return get_number(bank, 4) == BANK_MAGIC && get_number(bank + body, 4) == crc32(bank, body);
}

static bool bank_is_blank(const uint8_t *bank)
{
    for (int i = 0; i < BANK_BYTES; i++)
        if (bank[i] != 0 && bank[i] != 0xFF)
            return false;
    return true;
}

/* The first save goes to bank B. Bank A blank and bank B torn is a device whose very first save was cut: it is new. */
enum stored store_load(struct hwo1 *d)
{
    uint8_t bank[2][BANK_BYTES];
    uint32_t generation[2];
    bool whole[2];
    int newest;
    struct cursor c;

    for (int i = 0; i < 2; i++) {
        d->hal->fram_read(d->hal->context, (uint16_t)(BANK_A + i * BANK_BYTES), bank[i], BANK_BYTES);
        whole[i] = bank_is_whole(bank[i], &generation[i]);
    }
    d->generation = 0;
    d->log.saved_head = 0;
    if (!whole[0] && !whole[1])
        return bank_is_blank(bank[0]) ? STORE_NEW : STORE_DAMAGED;
    newest = !whole[0] || (whole[1] && (int32_t)(generation[1] - generation[0]) > 0);
    d->generation = generation[newest];
    c.at = bank[newest] + 8;
    c.loading = true;
    fields(&c, d);
    d->log.saved_head = d->log.head;
    return STORED;
}

void store_commit(struct hwo1 *d)
{
    uint8_t bank[BANK_BYTES] = {0};
    struct cursor c = {bank + 8, false};
    uint32_t fresh = d->log.head - d->log.saved_head;

    if (!d->dirty)
        return;
    for (uint32_t i = 0; i < fresh; i++)
        d->hal->fram_write(d->hal->context, store_record_at(d->log.saved_head + 1 + i), d->log.pending[i],
                           RECORD_BYTES);
    d->generation++;
    put_number(bank, BANK_MAGIC, 4);
    put_number(bank + 4, d->generation, 4);
    fields(&c, d);
    put_number(bank + BANK_BYTES - CHECKSUM_BYTES, crc32(bank, BANK_BYTES - CHECKSUM_BYTES), CHECKSUM_BYTES);
    d->hal->fram_write(d->hal->context, (uint16_t)(BANK_A + d->generation % 2 * BANK_BYTES), bank, BANK_BYTES);
    d->log.saved_head = d->log.head;
    d->saved_pulses = d->total_pulses;
    d->saved_at_ms = d->now_ms;
    d->dirty = false;
}
