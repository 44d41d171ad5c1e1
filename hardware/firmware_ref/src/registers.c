/* The register file: which point is at which address, what it reads, and what a write may do. The table of points is
 * made of the generated rows; no address is typed here. */
#include <string.h>

#include "bytes.h"
#include "device.h"

enum type { BIT, U16, I16, U32, U64, STR, RAW };
enum access { R, RW };

struct point {
    uint16_t address, words;
    uint8_t table, type, access;
    int64_t low, high;
};

#define ID_OF(name, table, address, words, type, access, low, high, fallback, persist) POINT_##name,
enum point_id { HWO1_POINTS(ID_OF) POINT_COUNT };

#define ROW_OF(name, table, address, words, type, access, low, high, fallback, persist)                               \
    {address, words, table, type, access, low, high},
static const struct point POINTS[POINT_COUNT] = {HWO1_POINTS(ROW_OF)};

#define FW_NAME "1.0.0"
#define HW_REVISION 1
#define POINT_BYTES_MAX (2 * HWO1_LOG_RECORDS_MAX * HWO1_EVENT_WORDS)

static int point_at(enum table table, uint32_t address)
{
    for (int id = 0; id < POINT_COUNT; id++)
        if (POINTS[id].table == table && address - POINTS[id].address < POINTS[id].words)
            return id;
    return -1;
}

static uint16_t capabilities(const struct hwo1 *d)
{
    uint32_t caps = HWO1_CAPS_READER | HWO1_CAPS_DISPLAY | HWO1_CAPS_BACKUP;

    return (uint16_t)(d->identity.temp_in ? caps | HWO1_CAPS_TEMP_IN : caps);
}

static uint64_t identity_number(const struct hwo1 *d, int id)
{
    switch (id) {
    case POINT_MAGIC: return HWO1_MAGIC;
    case POINT_PROFILE_ID: return HWO1_PROFILE_ID;
    case POINT_PROFILE_VER: return HWO1_PROFILE_VER;
    case POINT_MAP_CRC: return HWO1_MAP_CRC;
    case POINT_DEVICE_UID: return d->identity.device_uid;
    case POINT_HW_REV: return HW_REVISION;
    case POINT_CAP_BITS: return capabilities(d);
    case POINT_K_FACTOR: return d->config[CONFIG_CFG_CAL_K];
    case POINT_LOG_CAPACITY: return LOG_CAPACITY;
    case POINT_LOG_WORDS: return HWO1_EVENT_WORDS;
    default: return 0;
    }
}

static uint64_t status_number(const struct hwo1 *d, int id)
{
    switch (id) {
    case POINT_SNAP_SEQ:
    case POINT_SNAP_END: return d->snap;
    case POINT_STATE: return d->state;
    case POINT_CLOSE_REASON: return d->close_reason;
    case POINT_FAULTS: return d->faults;
    case POINT_LINK_AGE: return d->link_age_s;
    case POINT_SESSION_ID: return outlet_session_id(d);
    case POINT_SESS_PULSES: return outlet_session_pulses(d);
    case POINT_SESS_VOLUME: return outlet_volume_ml(d, outlet_session_pulses(d));
    case POINT_SESS_ELAPSED: return outlet_session_elapsed_ms(d) / 100;
    case POINT_FLOW: return outlet_flow_centilpm(d);
    case POINT_TEMP_OUT: return (uint16_t)d->sample.temp;
    case POINT_TOTAL_PULSES: return d->total_pulses;
    case POINT_LEASE_LEFT: return outlet_lease_left_ms(d);
    case POINT_LOG_HEAD: return d->log.head;
    case POINT_MBX_SEQ: return d->mailbox.seq;
    case POINT_BOOT_ID: return d->boot_id;
    case POINT_VALVE_POS: return outlet_valve_position(d);
    case POINT_TOTAL_VOLUME: return outlet_volume_ml(d, d->total_pulses);
    case POINT_REVERSE_PULSES: return d->reverse_pulses;
    case POINT_ENERGY: return d->energy / ENERGY_PER_WH;
    case POINT_VALVE_CYCLES: return d->valve_cycles;
    case POINT_OPEN_TIME: return d->open_time_ms / 1000;
    case POINT_TEMP_IN: return (uint16_t)d->sample.temp_in;
    case POINT_TEMP_MCU: return (uint16_t)d->sample.temp_mcu;
    case POINT_V_SUPPLY: return d->sample.supply_mv;
    case POINT_V_BACKUP: return d->sample.backup_mv;
    case POINT_UNIX_TIME: return device_unix_ms(d) / 1000;
    case POINT_CLOCK_QUALITY: return device_clock_quality(d);
    case POINT_DRIFT: return (uint16_t)d->clock.drift_ppm;
    case POINT_UPTIME: return (d->now_ms - d->booted_at_ms) / 1000;
    case POINT_RX_CRC_ERRORS: return d->crc_errors;
    case POINT_RX_FRAMES: return d->frames;
    default: return identity_number(d, id);
    }
}

static uint64_t mailbox_number(const struct hwo1 *d, int id)
{
    const struct item *item = &d->mailbox.items[0];

    if (d->mailbox.count == 0)
        return 0;
    switch (id) {
    case POINT_MBX_SOURCE: return item->source;
    case POINT_MBX_LEN: return item->len;
    case POINT_MBX_TIME: return item->unix_time;
    case POINT_MBX_FLAGS:
        return item->flags | (d->now_ms - item->at_ms > MAILBOX_STALE_MS ? HWO1_MAILBOX_FLAGS_STALE : 0);
    case POINT_MBX_UID_LEN: return item->uid_len;
    default: return item->seq;
    }
}

static bool flag(const struct hwo1 *d, int id)
{
    switch (id) {
    case POINT_VALVE_OPEN: return outlet_valve_drive(d) || d->state == HWO1_STATE_CLOSING;
    case POINT_FLOWING: return d->recent.count != 0;
    case POINT_IN_SESSION: return d->dispense.open;
    case POINT_ANY_FAULT: return d->faults != 0;
    case POINT_LEAK: return device_has_fault(d, HWO1_FAULTS_LEAK_CLOSED);
    case POINT_TAMPER: return device_has_fault(d, HWO1_FAULTS_TAMPER);
    case POINT_OVER_TEMP: return device_has_fault(d, HWO1_FAULTS_OVER_TEMP);
    case POINT_CLOCK_UNSET: return !d->clock.is_set;
    case POINT_LOG_PENDING: return log_waiting(d) != 0;
    case POINT_MBX_PENDING: return d->mailbox.count != 0;
    case POINT_REBOOTED: return d->rebooted;
    case POINT_SERVICE_KEY: return d->sample.service_key;
    case POINT_SUPPLY_LOW: return device_has_fault(d, HWO1_FAULTS_LOW_SUPPLY);
    case POINT_LINK_LOST: return d->link_age_s > d->config[CONFIG_CFG_COMM_WATCHDOG];
    case POINT_LOG_FULL: return log_waiting(d) >= LOG_CAPACITY - LOG_RESERVED;
    case POINT_IDENTIFY: return d->identify;
    case POINT_MUTE: return d->mute;
    default: return false;
    }
}

static uint64_t holding_number(const struct hwo1 *d, int id)
{
    uint8_t records[POINT_BYTES_MAX];

    switch (id) {
    case POINT_CFG_SEQ: return d->config_seq;
    case POINT_CFG_UNLOCK:
    case POINT_MBX_ACK:
    case POINT_CLOCK_SET_MS: return 0;
    case POINT_LOG_ACK: return d->log.acked;
    case POINT_LOG_CURSOR:
    case POINT_LOG_CURSOR_ECHO: return d->log_cursor;
    case POINT_CLOCK_SET: return d->clock_set;
    case POINT_DISP_TTL: return d->disp_ttl;
    case POINT_BUZZER: return d->buzzer;
    case POINT_LED: return d->led;
    case POINT_RES_TOKEN: return d->last_result.token;
    case POINT_RES_CODE: return d->last_result.code;
    case POINT_RES_DETAIL: return d->last_result.detail;
    case POINT_RES_SESSION: return d->last_result.session_id;
    case POINT_RES_PULSES: return d->last_result.pulses;
    case POINT_RES_SNAP_SEQ: return d->last_result.snap;
    case POINT_LOG_WINDOW_HEAD: return d->log.head;
    case POINT_LOG_VALID: return log_window(d, records);
    default: return d->config[id - POINT_CFG_SEQ];
    }
}

/* Put text or raw bytes of a point, padded with NUL. */
static void put_bytes(const struct hwo1 *d, int id, uint8_t *to)
{
    const char *text = NULL;

    if (id == POINT_LOG_RECORDS) {
        log_window(d, to);
        return;
    }
    memset(to, 0, 2u * POINTS[id].words);
    if (id == POINT_DISP_TEXT)
        memcpy(to, d->disp_text, TEXT_BYTES);
    else if (id == POINT_MBX_UID && d->mailbox.count != 0)
        memcpy(to, d->mailbox.items[0].uid, UID_BYTES_MAX);
    else if (id == POINT_MBX_PAYLOAD && d->mailbox.count != 0)
        memcpy(to, d->mailbox.items[0].payload, PAYLOAD_BYTES_MAX);
    else if (id == POINT_VENDOR)
        text = "CampusTap";
    else if (id == POINT_MODEL)
        text = d->identity.model;
    else if (id == POINT_SERIAL)
        text = d->identity.serial;
    else if (id == POINT_FW)
        text = FW_NAME;
    if (text != NULL)
        memcpy(to, text, strlen(text));
}

static uint64_t number(const struct hwo1 *d, int id)
{
    if (POINTS[id].table == HOLDING)
        return holding_number(d, id);
    if (id >= POINT_MBX_ITEM_SEQ && id <= POINT_MBX_END)
        return mailbox_number(d, id);
    return status_number(d, id);
}

/* Encode one point into its registers. */
static void encode(const struct hwo1 *d, int id, uint16_t *words)
{
    uint8_t bytes[POINT_BYTES_MAX];

    if (POINTS[id].type == BIT) {
        words[0] = flag(d, id);
        return;
    }
    if (POINTS[id].type == STR || POINTS[id].type == RAW)
        put_bytes(d, id, bytes);
    else
        put_number(bytes, number(d, id), (uint8_t)(2 * POINTS[id].words));
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
