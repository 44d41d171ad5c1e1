/* The event log ring: records numbered from 1 and kept until acknowledged. Only acknowledged ones are overwritten. The
 * last places are reserved: a session start may not use them, faults all but two, an END every one. */
#include <string.h>

#include "bytes.h"
#include "crc.h"
#include "device.h"

static uint16_t room_for(uint16_t type)
{
    switch (type) {
    case HWO1_RECORD_TYPE_END:
        return LOG_CAPACITY;
    case HWO1_RECORD_TYPE_FAULT_SET:
    case HWO1_RECORD_TYPE_FAULT_CLR:
    case HWO1_RECORD_TYPE_UNBILLED_FLOW:
        return LOG_CAPACITY - 2;
    default:
        return LOG_CAPACITY - LOG_RESERVED;
    }
}

uint32_t log_waiting(const struct hwo1 *d)
{
    return d->log.head - d->log.acked;
}

bool log_has_room(const struct hwo1 *d, uint16_t type)
{
    return log_waiting(d) < room_for(type) && d->log.head - d->log.saved_head < LOG_PENDING_MAX;
}

bool log_append(struct hwo1 *d, const struct entry *entry)
{
    struct event_log *log = &d->log;
    uint64_t unix_ms = device_unix_ms(d);
    uint16_t quality = (uint16_t)(device_clock_quality(d) << HWO1_EVENT_QUALITY_SHIFT);
    uint8_t *record, *at;

    d->dirty = true;
    if (!log_has_room(d, entry->type))
        return false;
    record = at = log->pending[log->head++ - log->saved_head];
    at = put_number(at, log->head, 4);
    at = put_number(at, entry->type, 2);
    at = put_number(at, d->boot_id, 2);
    at = put_number(at, unix_ms / 1000, 4);
    at = put_number(at, quality | unix_ms / 100 % 10, 2);
    at = put_number(at, entry->session_id, 4);
    at = put_number(at, entry->token_tag, 4);
    at = put_number(at, entry->pulses, 4);
    at = put_number(at, d->total_pulses, 8);
    at = put_number(at, entry->aux, 2);
    at = put_number(at, (uint16_t)d->sample.temp, 2);
    put_number(at, crc16(record, RECORD_BYTES - 2), 2);
    return true;
}

void log_acknowledge(struct hwo1 *d, uint32_t sequence)
{
#ifdef SEEDED_FAULT_ACK_BACKWARD
    if (sequence != d->log.acked) {
#else
    if (sequence > d->log.acked) {
#endif
        d->log.acked = sequence;
        d->dirty = true;
    }
}

uint16_t log_window(const struct hwo1 *d, uint8_t *records)
{
    uint32_t head = d->log.saved_head;
    uint32_t oldest = head > LOG_CAPACITY ? head - LOG_CAPACITY + 1 : 1;
    uint32_t first = d->log_cursor > oldest ? d->log_cursor : oldest;
    uint16_t count = 0;

    for (; count < HWO1_LOG_RECORDS_MAX && first <= head; count++, first++)
        d->hal->fram_read(d->hal->context, store_record_at(first), records + RECORD_BYTES * count, RECORD_BYTES);
    memset(records + RECORD_BYTES * count, 0, (size_t)RECORD_BYTES * (HWO1_LOG_RECORDS_MAX - count));
    return count;
}
