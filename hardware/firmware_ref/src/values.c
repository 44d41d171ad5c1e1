/* What each point reads. */
#include <string.h>

#include "points.h"

#define FW_NAME "1.0.0"
#define HW_REVISION 1

static uint16_t capabilities(const struct hwo1 *d)
{
    uint32_t caps = HWO1_CAPS_READER | HWO1_CAPS_DISPLAY | HWO1_CAPS_BACKUP;

    if (d->identity.temp_in)
        caps |= HWO1_CAPS_TEMP_IN;
    return (uint16_t)(d->identity.has_key ? caps | HWO1_CAPS_MAC : caps);
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

bool point_flag(const struct hwo1 *d, int id)
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

void point_bytes(const struct hwo1 *d, int id, uint8_t *to)
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

uint64_t point_number(const struct hwo1 *d, int id)
{
    if (POINTS[id].table == HOLDING)
        return holding_number(d, id);
    if (id >= POINT_MBX_ITEM_SEQ && id <= POINT_MBX_END)
        return mailbox_number(d, id);
    return status_number(d, id);
}
