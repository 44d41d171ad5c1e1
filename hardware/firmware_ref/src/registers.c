/* The register file: which point is at which address and what a write may do. The table of points is made of the
 * generated rows; no address is typed here. */
#include <string.h>

#include "bytes.h"
#include "device.h"
#include "points.h"

#define ROW_OF(name, table, address, words, type, access, low, high, fallback, persist)                               \
    {address, words, table, type, access, low, high},
const struct point POINTS[POINT_COUNT] = {HWO1_POINTS(ROW_OF)};

static int point_at(enum table table, uint32_t address)
{
    for (int id = 0; id < POINT_COUNT; id++)
        if (POINTS[id].table == table && address - POINTS[id].address < POINTS[id].words)
            return id;
    return -1;
}

/* Encode one point into its registers. */
static void encode(const struct hwo1 *d, int id, uint16_t *words)
{
    uint8_t bytes[POINT_BYTES_MAX];

    if (POINTS[id].type == BIT) {
        words[0] = point_flag(d, id);
        return;
    }
    if (POINTS[id].type == STR || POINTS[id].type == RAW)
        point_bytes(d, id, bytes);
    else
        put_number(bytes, point_number(d, id), (uint8_t)(2 * POINTS[id].words));
    for (uint16_t i = 0; i < POINTS[id].words; i++)
        words[i] = get_word(bytes + 2 * i);
}

uint8_t registers_exist(enum table table, uint16_t address, uint16_t count)
{
    for (uint32_t at = address; at < (uint32_t)address + count; at++)
        if (point_at(table, at) < 0)
            return ILLEGAL_ADDRESS;
    return OK;
}

static bool touches_command(enum table table, uint16_t address, uint16_t count)
{
    return table == HOLDING && address < HWO1_BLOCK_CMD + HWO1_BLOCK_CMD_WORDS && address + count > HWO1_BLOCK_CMD;
}

uint8_t registers_read(const struct hwo1 *d, enum table table, uint16_t address, uint16_t count, uint16_t *words)
{
    uint16_t whole[POINT_BYTES_MAX / 2];
    uint32_t at = address, end = (uint32_t)address + count;

    if (registers_exist(table, address, count) != OK)
        return ILLEGAL_ADDRESS;
    if (touches_command(table, address, count)) {
        memcpy(words, d->command + (address - HWO1_BLOCK_CMD), count * sizeof *words);
        return OK;
    }
    while (at < end) {
        int id = point_at(table, at);
        uint32_t last = POINTS[id].address + POINTS[id].words;

        encode(d, id, whole);
        for (; at < end && at < last; at++)
            *words++ = whole[at - POINTS[id].address];
    }
    return OK;
}

static uint64_t written(const uint16_t *words, uint16_t count)
{
    uint64_t value = 0;

    for (uint16_t i = 0; i < count; i++)
        value = value << 16 | words[i];
    return value;
}

static bool is_number(int id)
{
    return POINTS[id].type == U16 || POINTS[id].type == I16 || POINTS[id].type == U32;
}

static bool is_within(int id, const uint16_t *words)
{
    int64_t value = POINTS[id].type == I16 ? (int16_t)words[0] : (int64_t)written(words, POINTS[id].words);

    return !is_number(id) || (value >= POINTS[id].low && value <= POINTS[id].high);
}

/* Check that a write covers whole writable points with values in bounds. */
static uint8_t check_points(enum table table, uint16_t address, const uint16_t *words, uint16_t count)
{
    uint32_t end = (uint32_t)address + count;

    for (uint32_t at = address; at < end; at++) {
        int id = point_at(table, at);

        if (id < 0 || POINTS[id].access == R)
            return ILLEGAL_ADDRESS;
    }
    for (uint32_t at = address; at < end;) {
        int id = point_at(table, at);

        if (POINTS[id].address != at || at + POINTS[id].words > end || !is_within(id, words + (at - address)))
            return ILLEGAL_VALUE;
        at += POINTS[id].words;
    }
    return OK;
}

static bool covers(uint16_t address, uint16_t count, uint16_t point)
{
    return address <= point && point < address + count;
}

/* What only this device knows: locks, sessions, pairs. */
static uint8_t check_meaning(const struct hwo1 *d, uint16_t address, const uint16_t *words, uint16_t count)
{
    bool config = address < HWO1_BLOCK_CFG + HWO1_BLOCK_CFG_WORDS && address + count > HWO1_REG_CFG_UNIT;

    if (config && d->now_ms >= d->unlocked_until_ms)
        return ILLEGAL_VALUE;
    if (config && d->dispense.open)
        return DEVICE_BUSY;
    if (covers(address, count, HWO1_REG_CLOCK_SET) != covers(address, count, HWO1_REG_CLOCK_SET_MS))
        return ILLEGAL_VALUE;
    if (covers(address, count, HWO1_REG_LOG_ACK) && written(words + (HWO1_REG_LOG_ACK - address), 2) > d->log.head)
        return ILLEGAL_VALUE;
    return OK;
}

static bool apply_config(struct hwo1 *d, int id, uint32_t value)
{
    uint32_t *place = &d->config[id - POINT_CFG_SEQ];
    struct entry entry = {0};

    if (*place == value)
        return false;
    entry.type = HWO1_RECORD_TYPE_CONFIG;
    entry.token_tag = *place;
    entry.pulses = value;
    entry.aux = POINTS[id].address;
    *place = value;
    log_append(d, &entry);
    return true;
}

static void put_text(struct hwo1 *d, const uint16_t *words)
{
    bool ended = false;

    for (int i = 0; i < TEXT_BYTES; i++) {
        uint8_t byte = (uint8_t)(i % 2 ? words[i / 2] : words[i / 2] >> 8);

        ended = ended || byte == 0;
        d->disp_text[i] = ended ? 0 : byte;
    }
}

/* Apply one checked point; return whether it changed the configuration. */
static bool apply(struct hwo1 *d, int id, const uint16_t *words)
{
    uint32_t value = (uint32_t)written(words, POINTS[id].words);

    switch (id) {
    case POINT_IDENTIFY:
        d->identify = d->identified.is_set = value != 0;
        d->identified.at_ms = d->now_ms;
        break;
    case POINT_MUTE: d->mute = value != 0; break;
    case POINT_CFG_UNLOCK: d->unlocked_until_ms = value == HWO1_CFG_UNLOCK_WORD ? d->now_ms + UNLOCK_MS : 0; break;
    case POINT_LOG_ACK:
        log_acknowledge(d, value);
        d->rebooted = false;
        outlet_check_log_room(d);
        break;
    case POINT_LOG_CURSOR: d->log_cursor = value; break;
    case POINT_MBX_ACK: mailbox_acknowledge(&d->mailbox, (uint16_t)value); break;
    case POINT_CLOCK_SET: d->clock_set = value; break;
    case POINT_CLOCK_SET_MS:
        device_set_clock(d, d->clock_set * UINT64_C(1000) + value);
        break;
    case POINT_DISP_TEXT: put_text(d, words); break;
    case POINT_DISP_TTL: d->disp_ttl = (uint16_t)value; break;
    case POINT_BUZZER: d->buzzer = (uint16_t)value; break;
    case POINT_LED: d->led = (uint16_t)value; break;
    default: return apply_config(d, id, value);
    }
    return false;
}

static void apply_all(struct hwo1 *d, enum table table, uint16_t address, const uint16_t *words, uint16_t count)
{
    bool configured = false;

    for (uint32_t at = address; at < (uint32_t)address + count;) {
        int id = point_at(table, at);

        configured = apply(d, id, words + (at - address)) || configured;
        at += POINTS[id].words;
    }
    if (configured) {
        d->config_seq = (uint16_t)(d->config_seq % 0xFFFF + 1);
        d->dirty = true;
        device_check_calibration(d);
    }
}

uint8_t registers_write(struct hwo1 *d, enum table table, uint16_t address, const uint16_t *words, uint16_t count,
                        bool single)
{
    uint8_t refused;

    if (touches_command(table, address, count)) {
        if (single || address != HWO1_BLOCK_CMD || count != HWO1_BLOCK_CMD_WORDS)
            return ILLEGAL_VALUE;
        refused = check_points(table, address, words, count);
        if (refused == OK)
            refused = command_run(d, words);
    } else {
        refused = check_points(table, address, words, count);
        if (refused == OK && table == HOLDING)
            refused = check_meaning(d, address, words, count);
        if (refused == OK)
            apply_all(d, table, address, words, count);
    }
    if (refused != OK)
        return refused;
    device_next_snap(d);
    d->hal->valve(d->hal->context, outlet_valve_drive(d));
    store_commit(d);
    return OK;
}

void registers_broadcast(struct hwo1 *d, uint16_t address, const uint16_t *words, uint16_t count)
{
    if (address != HWO1_REG_CLOCK_SET || count != 3 || words[2] > HWO1_CLOCK_SET_MS_MAX)
        return;
    device_set_clock(d, written(words, 2) * 1000 + words[2]);
    store_commit(d);
}
